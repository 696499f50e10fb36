"""Measures gaps in the output of a small pipeline beside a large one in the same slot.

One pipeline counts millions of keys, so that a checkpoint holds nearly all of them. The other prints a thousand
rows a second. Both run in one slot. A gap is the time between two reads of what the second one prints.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

JOB = """
CREATE TABLE d (k BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'number-of-rows' = '{keys}',
  'fields.k.kind' = 'sequence', 'fields.k.start' = '1', 'fields.k.end' = '{keys}', 'fields.v.min' = '0', 'fields.v.max' = '1000');
CREATE TABLE p (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'number-of-rows' = '{ticks}',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{ticks}');
CREATE TABLE o (k BIGINT, c BIGINT, s BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE q (id BIGINT) WITH ('connector' = 'print');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO o SELECT k, COUNT(*), SUM(v) FROM d GROUP BY k;
  INSERT INTO q SELECT id FROM p;
END;
"""
READ = 1 << 16
SHOWN = 5
WRITTEN = re.compile(r"written_bytes=(\d+)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m dev.stall", description=__doc__)
    parser.add_argument("--bin", type=Path, required=True, help="the streamjob-runtime to measure")
    parser.add_argument("--keys", type=int, default=5_000_000, help="keys of the large pipeline (%(default)s)")
    parser.add_argument("--rate", type=int, default=250_000, help="keys a second (%(default)s)")
    parser.add_argument("--interval", default="5s", help="interval of checkpoints (%(default)s)")
    return parser.parse_args()


def gaps(said: argparse.Namespace, scratch: Path) -> tuple[list[tuple[float, float]], list[int]]:
    """Gaps with their ends, both in seconds, the longest first; and what each checkpoint wrote."""
    job = scratch / "job.sql"
    ticks = said.keys // said.rate * 1000
    job.write_text(JOB.format(keys=said.keys, rate=said.rate, ticks=ticks))
    command = [str(said.bin), "run", str(job), "-v", "--checkpoint-interval", said.interval]
    command += ["--storage", str(scratch / "state")]
    log = scratch / "log"
    env = {**os.environ, "NO_COLOR": "1"}
    with log.open("wb") as err, subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=err) as process:
        assert process.stdout
        found, first, last = [], None, None
        while os.read(process.stdout.fileno(), READ):
            now = time.monotonic()
            if first is None or last is None:
                first = now
            else:
                found.append((now - last, now - first))
            last = now
    if process.returncode != 0:
        raise SystemExit(f"{said.bin} failed:\n{log.read_text()[-2000:]}")
    return sorted(found, reverse=True), [int(size) for size in WRITTEN.findall(log.read_text())]


def main() -> None:
    """Prints the longest gaps."""
    said = arguments()
    with tempfile.TemporaryDirectory(prefix="streamkeeper-stall-") as scratch:
        found, written = gaps(said, Path(scratch))
    longest = ", ".join(f"{gap * 1000:.0f} (at {end:.1f} s)" for gap, end in found[:SHOWN])
    print(f"{said.keys:,} keys, {said.rate:,} a second, a checkpoint every {said.interval}")
    print(f"longest gaps, ms: {longest}")
    print(f"checkpoints wrote, MB: {', '.join(f'{size / 1e6:.0f}' for size in written)}")


main()
