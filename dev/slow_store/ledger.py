"""Is every row in the files that were committed, once and whole?"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from dev.lib import wait
from dev.lib.s3 import S3, S3Error

PAD = 200
EXAMPLES = 10
READ_SECONDS = 120
T = TypeVar("T")


@dataclass
class Verdict:
    """Rows expected and found; `wrong` were found with other values than their number has."""

    expected: int
    found: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Every row once, as it should be."""
        return self.lost == self.duplicated == self.wrong == 0 and self.found == self.expected

    def __str__(self) -> str:
        return f"ledger: {self.expected} rows expected, {self.found} found, {self.lost} lost, {self.duplicated} duplicated, {self.wrong} wrong"

    def tell(self, example: str) -> None:
        """Remembers a difference, if there are few."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


def job(rows: int, path: str, *, buffer: int | None) -> str:
    """The job: it copies numbered rows as fast as it may. `buffer`: bytes of a sink where the runtime cannot read its limit."""
    setting = f"SET 'streamkeeper.sink.buffer-size' = '{buffer}';\n" if buffer else ""
    return f"""{setting}CREATE TABLE numbers (id BIGINT, pad STRING) WITH (
  'connector' = 'datagen', 'rows-per-second' = '200000', 'number-of-rows' = '{rows}',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}', 'fields.pad.length' = '{PAD}'
);
CREATE TABLE copies (id BIGINT, triple BIGINT, pad STRING)
WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');
INSERT INTO copies SELECT id, id * 3 AS triple, pad FROM numbers;
"""


def check(rows: int, parts: Iterable[tuple[str, bytes]]) -> Verdict:
    """Holds files, by name, against the rows 1 to `rows`."""
    verdict = Verdict(rows)
    seen = bytearray(rows + 1)
    for name, content in parts:
        if content and not content.endswith(b"\n"):
            verdict.wrong += 1
            verdict.tell(f"{name} ends within a row")
        for line in content.splitlines():
            verdict.found += 1
            number = number_of(line, rows)
            if number is None:
                verdict.wrong += 1
                verdict.tell(f"{name}: not a row of the job: {line[:120]!r}")
            elif seen[number]:
                verdict.duplicated += 1
                verdict.tell(f"{name}: row {number} is there again")
            else:
                seen[number] = 1
    verdict.lost = seen.count(0) - 1
    if verdict.lost:
        verdict.tell(f"the first lost row is {seen.index(0, 1)}")
    return verdict


def number_of(line: bytes, rows: int) -> int | None:
    """The number of a row, if all of the row is as it should be."""
    try:
        row = json.loads(line)
        number, triple, pad = row["id"], row["triple"], row["pad"]
        whole = len(row) == 3 and triple == 3 * number and 1 <= number <= rows and len(pad) == PAD
    except (ValueError, KeyError, TypeError):
        return None
    return number if whole and type(number) is int else None


def committed(client: S3, bucket: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder. Only a commit puts one there, so all of them count."""

    def retried(what: str, ask: Callable[[], T]) -> T:
        return wait.until(what, ask, READ_SECONDS, interval=1, retry=(S3Error,))

    keys = retried("the list of files", lambda: [entry.key for entry in client.entries(bucket, f"{folder}/")])
    for key in keys:
        yield key, retried(key, partial(client.get, bucket, key))
