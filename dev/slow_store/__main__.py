"""Runs a job whose store is slow, then returns 503, then works again. Exit code 0 if the job recovers by itself, writes every
row once and stays within its memory."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from dev.lib.paths import CARGO_TARGET
from dev.slow_store.run import MIB, Plan, play

LAST_LINES = 15


def arguments(given: list[str]) -> Plan:
    """Returns the plan of a command line."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.slow_store", description=__doc__)
    parser.add_argument("--binary", type=Path, help="streamjob-runtime; Cargo's dev build without it")
    parser.add_argument("--rows", type=positive(int), default=Plan.rows, help="rows of the job (%(default)s)")
    parser.add_argument("--workers", type=positive(int), default=Plan.workers, help="worker processes (%(default)s)")
    parser.add_argument("--limit", type=positive(int), default=Plan.limit // MIB, help="memory of a worker, MiB (%(default)s)")
    parser.add_argument("--rate", type=positive(int), default=Plan.rate // 1024, help="rate of the slow store, KiB/s (%(default)s)")
    parser.add_argument("--slow-seconds", type=positive(float), default=Plan.slow_seconds, help="seconds at that rate (%(default)s)")
    parser.add_argument("--outage-seconds", type=positive(float), default=Plan.outage_seconds, help="seconds of 503 (%(default)s)")
    parser.add_argument("--patience", type=positive(float), default=Plan.patience, help="seconds within which the job completes after the outage (%(default)s)")
    parser.add_argument("--checkpoint-interval", default=Plan.checkpoint_interval, help="interval of checkpoints (%(default)s)")
    said = parser.parse_args(given)
    binary = (said.binary or CARGO_TARGET / f"{platform.machine()}-unknown-linux-gnu/debug/streamjob-runtime").resolve()
    if not binary.is_file():
        parser.error(f"{binary} is missing; build it with: cargo build --workspace --locked --bin streamjob-runtime --test documentation")
    sizes = {"limit": said.limit * MIB, "rate": said.rate * 1024}
    same = {name: getattr(said, name) for name in ("rows", "workers", "slow_seconds", "outage_seconds", "patience", "checkpoint_interval")}
    return Plan(binary, **same, **sizes)


def positive(kind: type) -> object:
    """Returns a type of argparse: a number above zero."""

    def number(text: str) -> float:
        value: float = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"'{text}' is not above zero")
        return value

    number.__name__ = kind.__name__
    return number


def main() -> int:
    """Plays the plan and prints the outcome."""
    plan = arguments(sys.argv[1:])
    # So processes and cgroups are removed on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="streamkeeper-slow-store-"))
    outcome = play(plan, folder, f"streamkeeper-slow-store-{os.getpid()}")
    outcome.tell()
    if not outcome.wrong():
        shutil.rmtree(folder)
        print("the job came through by itself, every row once, every worker below its limit")
        return 0
    for log in sorted(folder.glob("*.log")):
        print(f"--- the end of {log}")
        print("\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
