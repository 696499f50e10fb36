"""Runs the cases whose name contains PATTERN. Prints a line for each, and what is wrong with its answer."""

import argparse
import platform
import sys
import time
from pathlib import Path

from dev.cases import case, judge, run
from dev.lib.narrate import elapsed, paint
from dev.lib.paths import CARGO_TARGET, ROOT

CASES = ROOT / "tests" / "cases"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dev.cases", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="part of the names of cases; all without it")
    parser.add_argument("--bin", type=Path, help="the binary streamjob-runtime; Cargo's dev build without it")
    options = parser.parse_args()
    binary = (options.bin or CARGO_TARGET / f"{platform.machine()}-unknown-linux-gnu/debug/streamjob-runtime").resolve()
    if not binary.is_file():
        print(f"{binary} is missing; build it with: cargo build --workspace --locked --bin streamjob-runtime")
        return 1
    chosen = folders(options.pattern)
    if not chosen:
        print(f"no case in {CASES} has '{options.pattern}' in its name")
        return 1
    right = sum(tell(folder, binary) for folder in chosen)
    print(f"{len(chosen)} cases, {right} right")
    print(f"{right} passed, {len(chosen) - right} failed")
    return 0 if right == len(chosen) else 1


def folders(pattern: str = "") -> list[Path]:
    """Returns the folders of the cases whose name contains the pattern."""
    return sorted(path for path in CASES.iterdir() if path.is_dir() and pattern in path.name)


def tell(folder: Path, binary: Path) -> bool:
    """Runs a case and prints its line. Returns whether its answer is right."""
    began = time.monotonic()
    try:
        one = case.load(folder)
        answer = run.answer(one, binary)
        found = judge.wrong(one, answer) or control(one, answer)
        why = one.why
    except case.BadCase as error:
        found, why = [f"the case cannot be judged: {error}"], ""
    took = elapsed(time.monotonic() - began)
    mark = paint("wrong", "31") if found else paint("right", "32")
    print(f"{mark}  {folder.name}  {took}", flush=True)
    for line in found:
        print(f"       {line}")
    if found and why:
        print(f"       why: {why}")
    return not found


def control(one: case.Case, answer: judge.Answer) -> list[str]:
    """Returns changed expectations under which the answer should be wrong, and is not."""
    blind = [other for other in judge.spoiled(one) if not judge.wrong(other, answer)]
    return [f"the answer is called right under a wrong expectation, too: {other}" for other in blind]


if __name__ == "__main__":
    sys.exit(main())
