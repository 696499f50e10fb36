"""Wait for a condition with a deadline; when it passes, say what was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Pending(str):
    """What a probe returns for "not yet": what it saw instead, in words for a person."""


class Timeout(Exception):
    """The deadline passed. The message names the condition, the time and the last thing seen."""

    def __init__(self, what: str, seconds: float, seen: str) -> None:
        super().__init__(f"gave up waiting for {what} after {seconds:.0f} s; seen last: {seen}")
        self.seen = seen


def until(
    what: str,
    probe: Callable[[], T | Pending],
    seconds: float,
    *,
    interval: float = 0.2,
    retry: tuple[type[Exception], ...] = (),
    on_pending: Callable[[str], None] | None = None,
) -> T:
    """Calls `probe` until it returns something other than a `Pending`, and returns that.

    An exception listed in `retry` counts as pending with its message; every other one passes
    through. `on_pending` is called with each `Pending` (`Step.update` fits). Raises `Timeout`
    after `seconds`. The probe runs at least once, and once more after the deadline has passed.
    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() >= deadline
        try:
            answer: T | Pending = probe()
        except retry as error:
            answer = Pending(str(error) or type(error).__name__)
        if not isinstance(answer, Pending):
            return answer
        if on_pending is not None:
            on_pending(answer)
        if late:
            raise Timeout(what, seconds, answer)
        time.sleep(interval)
