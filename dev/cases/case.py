"""A case: a folder `tests/cases/<area>-<nn>-<slug>/` with a job, its input and the right answer.

`case.json` holds:

| key | |
|---|---|
| `why` | one sentence: what went wrong, or what the case guards |
| `sql` | the file with the job, `job.sql` by default |
| `verb` | `run` (default) or `check` |
| `arguments` | more arguments of the verb, a list |
| `env` | variables of the process |
| `meanwhile` | a regular expression: `meanwhile.py` runs once standard error holds it |
| `until` | a regular expression: the process goes on for ever, and is ended once standard error holds it |
| `max_rss_mib` | the memory that the process has at most, in MiB |
| `rows` | the lines on standard output, in any order; with `ordered`: true in this order |
| `error` | a regular expression: the verb fails and says so on standard error |
| `warning` | a regular expression: standard error holds it, and holds it once |
| `steady` | true: the last third of the checkpoints write at most twice what the first third does, by their medians (`-v` says how much) |
| `deadline_s` | 60 by default |

`run` needs `rows`, `error` or `until`; with rows and error, the rows are what is printed before the error.
In the SQL `${CASE}` is a copy of the folder, `${IN}` its `in/`, `${OUT}` an empty folder.
`generate.py` makes input that is too big or too odd for Git: it runs first, in the copy.
`meanwhile.py` runs in the copy once the job has printed its first line, or said what `meanwhile` waits for.
`server.py` runs in the copy from before the job's start to its end. Its first line is a JSON object of
variables: they stand in the job's environment, and as `${NAME}` in `arguments` and `env`.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

KEYS = {"why", "sql", "verb", "arguments", "env", "rows", "ordered", "error", "warning", "deadline_s"}
KEYS |= {"meanwhile", "until", "max_rss_mib", "steady"}


class BadCase(Exception):
    """The folder says nothing that could be judged."""


@dataclass(frozen=True)
class Case:
    """What is run, and the right answer."""

    name: str
    folder: Path
    why: str
    sql: str = "job.sql"
    verb: str = "run"
    arguments: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    rows: list[str] | None = None
    ordered: bool = False
    error: str | None = None
    warning: str | None = None
    meanwhile: str | None = None
    until: str | None = None
    max_rss_mib: int | None = None
    steady: bool = False
    deadline_s: float = 60.0


def parse(folder: Path, text: str) -> Case:
    """The case of a folder whose `case.json` holds `text`."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise BadCase(f"case.json is not JSON: {error}") from error
    unknown = sorted(set(said) - KEYS)
    if unknown:
        raise BadCase(f"case.json has unknown keys: {', '.join(unknown)}")
    if not said.get("why"):
        raise BadCase("case.json does not say why")
    case = Case(name=folder.name, folder=folder, **said)
    if case.verb not in ("run", "check"):
        raise BadCase(f"the verb is 'run' or 'check', not '{case.verb}'")
    if case.verb == "run" and case.rows is None and case.error is None and case.until is None:
        raise BadCase("a run needs 'rows', 'error' or 'until'")
    if case.until is not None and case.error is not None:
        raise BadCase("a process that is ended has no 'error': say what it says in 'until'")
    if case.verb == "check" and case.rows is not None:
        raise BadCase("'check' prints a plan, not rows")
    if case.steady and "-v" not in case.arguments:
        raise BadCase("'steady' reads what '-v' says, which is not among the arguments")
    for pattern in (case.error, case.warning, case.meanwhile, case.until):
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise BadCase(f"'{pattern}' is not a regular expression: {error}") from error
    return case


def load(folder: Path) -> Case:
    """The case of a folder."""
    path = folder / "case.json"
    if not path.is_file():
        raise BadCase("case.json is missing")
    case = parse(folder, path.read_text())
    if not any((folder / name).is_file() for name in (case.sql, "generate.py")):
        raise BadCase(f"{case.sql} is missing")
    return case
