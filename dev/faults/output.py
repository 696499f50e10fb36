"""Compares the output of the job with all rows that were fed, by SQLite.

The name of each object has the number of its checkpoint. When the job goes back to a snapshot, the
objects that it wrote since then stay, and it writes them again with greater numbers. So the objects
of the checkpoints that it left are left out.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dev.faults.load import FOLDER
from dev.lib import ledger
from dev.lib.s3 import S3
from dev.s3 import install as s3

Row = tuple[int, str, int]


@dataclass
class Verdict(ledger.Verdict):
    """The verdict over both sinks. `wrong` counts wrong counts, and changes that contradict what was there."""

    left_out: int = 0
    """Copies that were written by checkpoints which the job has left."""


def parts(client: S3, table: str, left: Sequence[range] = ()) -> Iterator[tuple[str, bool]]:
    """Yields the objects of a table in commit order, and whether each counts."""
    for key in ledger.parts(client, s3.BUCKET, f"{FOLDER}/{table}/"):
        yield key, not any(ledger.checkpoint_of(key) in line for line in left)


def written(client: S3, left: Sequence[range], counted: dict[str, int]) -> int:
    """Returns the rows in the folder of copies. Objects never change, so each is read once: `counted` remembers."""
    for key, counts in parts(client, "copies", left):
        if counts and key not in counted:
            counted[key] = client.get(s3.BUCKET, key).count(b"\n")
    return sum(counted.values())


def check(client: S3, rows: list[Row], left: Sequence[range] = (), out: str = "") -> Verdict:
    """Compares the output below `out` with the rows that were fed."""
    tables = ledger.Tables()
    columns = "id INTEGER, name TEXT, n INTEGER"
    tables.fill("fed", columns, rows)
    copies = list(parts(client, f"{out}copies", left))
    read = (json.loads(line) for line in ledger.lines(client, s3.BUCKET, (key for key, counts in copies if counts)))
    tables.fill("copies", columns, ((row["id"], row["name"], row["n"]) for row in read))
    tables.db.execute("CREATE INDEX by_id ON copies (id)")
    left_out = sum(1 for _ in ledger.lines(client, s3.BUCKET, (key for key, counts in copies if not counts)))
    # A column that comes and goes with an edit is not compared.
    changes = ledger.lines(client, s3.BUCKET, (key for key, counts in parts(client, f"{out}counts", left) if counts))
    contradictions = tables.apply("counts", "name TEXT, seen INTEGER, total INTEGER", changes)

    copied = tables.compare("copies", "SELECT * FROM fed", "SELECT * FROM copies", "id")
    counted = tables.compare("counts", "SELECT name, COUNT(*), SUM(n) FROM fed GROUP BY name", "SELECT * FROM counts", "name")
    verdict = Verdict(len(rows), copied.found, len(copied.missing), copied.surplus, wrong_is="counts wrong", left_out=left_out)
    verdict.wrong = len(contradictions) + len(counted.missing) + len(counted.unexpected) + counted.surplus
    verdict.note = f"{left_out} were written again after a restore"
    verdict.add_examples([*copied.examples, *contradictions, *counted.examples])
    return verdict
