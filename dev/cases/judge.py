"""Whether an answer is the right one."""

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dev.cases.case import Case

PANIC = re.compile(r"panicked at|has overflowed its stack", re.IGNORECASE)
WRITTEN = re.compile(r"written_bytes(?:\x1b\[[0-9;]*m|=)+(\d+)")
FEWEST_CHECKPOINTS = 9
SHOWN = 5


@dataclass(frozen=True)
class Answer:
    """What a process printed and how it ended; no code means that its deadline passed.

    `ended`: it said what the case waited for, and the runner ended it.
    """

    code: int | None
    out: str
    err: str
    ended: bool = False
    max_rss_mib: int = 0


def wrong(case: Case, answer: Answer) -> list[str]:
    """Returns what is wrong with an answer; nothing if it is right."""
    found = []
    if case.until is not None:
        if not (answer.ended and re.search(case.until, answer.err)):
            found.append(f"/{case.until}/ was not said within {case.deadline_s:g} s: {last_line(answer.err)}")
    elif answer.code is None:
        found.append(f"no end within {case.deadline_s:g} s")
    elif answer.code < 0:
        found.append(f"the process was ended by signal {-answer.code}")
    panic = PANIC.search(answer.err)
    if panic:
        found.append(f"the process panicked: {line_of(answer.err, panic.start())}")
    if found:
        return found
    if case.max_rss_mib is not None and answer.max_rss_mib > case.max_rss_mib:
        found.append(f"{answer.max_rss_mib} MiB of memory, more than {case.max_rss_mib}")
    if case.until is not None:
        pass
    elif case.error is None and answer.code != 0:
        found.append(f"exit code {answer.code}: {last_line(answer.err)}")
    elif case.error is not None and answer.code == 0:
        found.append("no error, exit code 0")
    elif case.error is not None and not re.search(case.error, answer.err):
        found.append(f"the error is not like /{case.error}/: {last_line(answer.err)}")
    if case.rows is not None:
        found.extend(differences(case.rows, answer.out.splitlines(), case.ordered))
    if case.warning is not None:
        times = len(re.findall(case.warning, answer.err))
        if times != 1:
            found.append(f"/{case.warning}/ stands {times} times on standard error, not once")
    if case.steady:
        found.extend(growth([int(bytes_) for bytes_ in WRITTEN.findall(answer.err)]))
    return found


def spoiled(case: Case) -> Iterator[Case]:
    """Yields the case with changed expectations, for a control: a right answer must be wrong under each."""
    if case.rows is not None:
        yield replace(case, rows=[*case.rows, "+I[no query wrote this row]"])
        if case.rows:
            yield replace(case, rows=case.rows[1:])
    if case.error is not None:
        yield replace(case, error="(?!)")
        yield replace(case, error=None, rows=case.rows or [])
    if case.warning is not None:
        yield replace(case, warning="(?!)")
    if case.max_rss_mib is not None:
        yield replace(case, max_rss_mib=1)
    if case.until is not None:
        yield replace(case, until="(?!)")


def growth(written: list[int]) -> list[str]:
    """Checkpoints that write more and more."""
    if len(written) < FEWEST_CHECKPOINTS:
        return [f"{len(written)} checkpoints say what they wrote, not {FEWEST_CHECKPOINTS}"]
    third = len(written) // 3
    first, last = statistics.median(written[:third]), statistics.median(written[-third:])
    return [f"checkpoints grow from {first:.0f} to {last:.0f} bytes: {written}"] if last > 2 * first else []


def differences(expected: list[str], printed: list[str], ordered: bool) -> list[str]:
    """Lines that are missing and lines that should not be there."""
    if ordered:
        return [] if printed == expected else [f"printed {printed[:SHOWN]}, not {expected[:SHOWN]}"]
    missing, extra = Counter(expected) - Counter(printed), Counter(printed) - Counter(expected)
    return [*counted("missing", missing), *counted("not expected", extra)]


def counted(word: str, lines: Counter[str]) -> list[str]:
    shown = [f"{word}: {line}" + (f" ({times} times)" if times > 1 else "") for line, times in lines.items()]
    rest = len(shown) - SHOWN
    return shown[:SHOWN] + ([f"{word}: {rest} more"] if rest > 0 else [])


def line_of(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 :].split("\n", 1)[0]


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing on standard error"
