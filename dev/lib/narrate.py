"""What the person at the terminal sees: headings, steps with elapsed time, tables.

On a terminal a running step is one line that moves; elsewhere (CI, a file) it is a line at the
start, one every 15 seconds and one at the end. Colours only on a terminal, never with NO_COLOR.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

QUIET_SECONDS = 15.0
TTY = sys.stdout.isatty()
COLOUR = TTY and "NO_COLOR" not in os.environ


def elapsed(seconds: float) -> str:
    """`4.2 s`, `48 s`, `3 min 07 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def paint(text: str, code: str) -> str:
    """`text` in an ANSI style (`1` bold, `2` dim, `31` red, `32` green) where colours are shown."""
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def heading(text: str) -> None:
    """A new chapter."""
    print(f"\n{paint(text, '1')}", flush=True)


def say(text: str) -> None:
    """A plain sentence, indented below its heading."""
    print(f"  {text}", flush=True)


class Step:
    """Something that takes a while: `with Step("building the images", usually="1 min") as step:`.

    `step.update("3 of 7")` changes the detail shown behind the elapsed time;
    `step.result("2 loaded")` sets what stands behind the tick at the end. An exception ends the
    line with a cross and goes through.
    """

    def __init__(self, title: str, *, usually: str = "") -> None:
        self.title = title
        self.usually = usually
        self.detail = ""
        self.outcome = ""
        self.started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    @property
    def seconds(self) -> float:
        """Elapsed since the step began."""
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        """Say how far it is."""
        self.detail = detail

    def result(self, outcome: str) -> None:
        """Say what came of it."""
        self.outcome = outcome

    def __enter__(self) -> "Step":
        self.started = time.monotonic()
        if not TTY:
            hint = f" (usually {self.usually})" if self.usually else ""
            print(f"  - {self.title}{hint} ...", flush=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        mark = paint("✔", "32") if error is None else paint("✘", "31")
        outcome = self.outcome if error is None else "failed"
        self._line(f"  {mark} {self.title}{': ' + outcome if outcome else ''} {paint(f'({elapsed(self.seconds)})', '2')}", "\n")

    def _show(self) -> None:
        frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        turn = 0
        while not self._stop.wait(0.1 if TTY else QUIET_SECONDS):
            hint = f" (usually {self.usually})" if self.usually and TTY else ""
            text = f"{self.title}: {elapsed(self.seconds)}{hint}{', ' + self.detail if self.detail else ''}"
            if TTY:
                width = shutil.get_terminal_size().columns - 6
                self._line(f"  {frames[turn % len(frames)]} {text[:width]}", "")
            else:
                print(f"    {text.removeprefix(self.title + ': ')}", flush=True)
            turn += 1

    def _line(self, text: str, end: str) -> None:
        print(f"\r\033[K{text}" if TTY else text, end=end, flush=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their content; numbers flush right."""
    body = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(headers), *body]) for i in range(len(headers))]
    right = [bool(body) and all(r[i][:1].isdigit() or r[i] in ("", "-") for r in body) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        return "  " + "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)).rstrip()

    print(paint(line(headers), "1"))
    print("  " + "  ".join("-" * width for width in widths))
    for row in body:
        print(line(row))
    sys.stdout.flush()
