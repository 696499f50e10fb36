"""The job, and whether every row is in the files that it committed, once and whole."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from dev.lib import ledger, wait
from dev.lib.s3 import S3, S3Error

PAD = 200
READ_SECONDS = 120
T = TypeVar("T")


def job(rows: int, path: str, *, buffer: int | None) -> str:
    """Returns the job: it copies numbered rows as fast as it may. `buffer`: bytes of a sink where the runtime cannot read its limit."""
    setting = f"SET 'streamkeeper.sink.buffer-size' = '{buffer}';\n" if buffer else ""
    return f"""{setting}CREATE TABLE numbers (id BIGINT, pad STRING) WITH (
  'connector' = 'datagen', 'rows-per-second' = '200000', 'number-of-rows' = '{rows}',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}', 'fields.pad.length' = '{PAD}'
);
CREATE TABLE copies (id BIGINT, triple BIGINT, pad STRING)
WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');
INSERT INTO copies SELECT id, id * 3 AS triple, pad FROM numbers;
"""


def check(rows: int, parts: Iterable[tuple[str, bytes]]) -> ledger.Verdict:
    """Compares files, by name, with the rows 1 to `rows`. There are millions, so they are counted and not kept."""
    verdict = ledger.Verdict(rows, wrong_is="wrong")
    seen = bytearray(rows + 1)
    for name, content in parts:
        if content and not content.endswith(b"\n"):
            verdict.wrong += 1
            verdict.add_examples([f"{name} ends within a row"])
        for line in content.splitlines():
            verdict.found += 1
            number = number_of(line, rows)
            if number is None:
                verdict.wrong += 1
                verdict.add_examples([f"{name}: not a row of the job: {line[:120]!r}"])
            elif seen[number]:
                verdict.duplicated += 1
                verdict.add_examples([f"{name}: row {number} is there again"])
            else:
                seen[number] = 1
    verdict.lost = seen.count(0) - 1
    if verdict.lost:
        verdict.add_examples([f"the first lost row is {seen.index(0, 1)}"])
    return verdict


def number_of(line: bytes, rows: int) -> int | None:
    """Returns the number of a row if all its values are right."""
    try:
        row = json.loads(line)
        number, triple, pad = row["id"], row["triple"], row["pad"]
        whole = len(row) == 3 and triple == 3 * number and 1 <= number <= rows and len(pad) == PAD
    except (ValueError, KeyError, TypeError):
        return None
    return number if whole and type(number) is int else None


def committed(client: S3, bucket: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """Yields every file below a folder. Only a commit puts one there, so all of them count."""

    def retried(what: str, ask: Callable[[], T]) -> T:
        return wait.until(what, ask, READ_SECONDS, interval=1, retry=(S3Error,))

    keys = retried("the list of files", lambda: [entry.key for entry in client.entries(bucket, f"{folder}/")])
    for key in keys:
        yield key, retried(key, partial(client.get, bucket, key))
