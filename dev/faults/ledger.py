"""The output, held against all that was fed, by SQLite.

The number of its checkpoint is in the name of every object. When the job went back to a snapshot, what it had written since stays there, and is written again under greater numbers: objects of
checkpoints that it left are left out.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dev.demo.ledger import in_commit_order
from dev.faults.load import FOLDER
from dev.lib.s3 import S3
from dev.s3 import install as s3

Row = tuple[int, str, int]


def parts(client: S3, table: str, left: Sequence[range] = ()) -> Iterator[tuple[str, bool]]:
    """Objects of a table in the order of their checkpoints, and whether each counts."""
    for key in in_commit_order(entry.key for entry in client.entries(s3.BUCKET, f"{FOLDER}/{table}/")):
        checkpoint = int(key.rsplit(".", 1)[0].rpartition("-")[2])
        yield key, not any(checkpoint in line for line in left)


@dataclass(frozen=True)
class Verdict:
    """Rows expected and found by number; counts that are wrong; changes that contradict what was there."""

    expected: int
    found: int
    lost: int
    duplicated: int
    wrong_counts: int
    left_out: int
    """Copies that lines wrote which the job has left."""
    examples: list[str]

    @property
    def exact(self) -> bool:
        """Nothing lost, nothing twice, nothing wrong."""
        return self.lost == self.duplicated == self.wrong_counts == 0 and self.expected == self.found

    def __str__(self) -> str:
        return f"ledger: {self.expected} rows expected, {self.found} found, {self.lost} lost, {self.duplicated} duplicated, {self.wrong_counts} counts wrong; {self.left_out} were written again after a restore"


def written(client: S3, left: Sequence[range], counted: dict[str, int]) -> int:
    """Rows in the folder of copies. Objects never change, so each is read once: `counted` remembers."""
    for key, counts in parts(client, "copies", left):
        if counts and key not in counted:
            counted[key] = client.get(s3.BUCKET, key).count(b"\n")
    return sum(counted.values())


def check(client: S3, rows: list[Row], left: Sequence[range] = (), out: str = "") -> Verdict:
    """Holds the output below `out` against the rows that were fed."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE fed (id INTEGER, name TEXT, n INTEGER)")
    db.executemany("INSERT INTO fed VALUES (?, ?, ?)", rows)
    db.execute("CREATE TABLE copies (id INTEGER, name TEXT, n INTEGER)")
    left_out = 0
    for key, counts in parts(client, f"{out}copies", left):
        lines = [json.loads(line) for line in client.get(s3.BUCKET, key).splitlines()]
        if counts:
            db.executemany("INSERT INTO copies VALUES (:id, :name, :n)", lines)
        else:
            left_out += len(lines)
    db.execute("CREATE INDEX by_id ON copies (id)")
    lost = db.execute("SELECT * FROM fed EXCEPT SELECT * FROM copies").fetchall()
    twice = db.execute("SELECT id, COUNT(*) FROM copies GROUP BY id HAVING COUNT(*) > 1").fetchall()
    examples = [f"lost: {row}" for row in lost[:5]] + [f"{count} times: id {number}" for number, count in twice[:5]]
    wrong = _fold(db, client, left, out)
    expected = "SELECT name, COUNT(*), SUM(n) FROM fed GROUP BY name"
    wrong += [f"counts: expected, not found: {row}" for row in db.execute(f"{expected} EXCEPT SELECT * FROM counts")]
    wrong += [f"counts: found, not expected: {row}" for row in db.execute(f"SELECT * FROM counts EXCEPT {expected}")]
    found = db.execute("SELECT COUNT(*) FROM copies").fetchone()[0]
    return Verdict(len(rows), found, len(lost), sum(count - 1 for _, count in twice), len(wrong), left_out, (examples + wrong)[:15])


def _fold(db: sqlite3.Connection, client: S3, left: Sequence[range], out: str) -> list[str]:
    """Applies the changelog of the counts; answers changes that contradict what is there. A column that comes and goes with an edit is left out."""
    db.execute("CREATE TABLE counts (name TEXT, seen INTEGER, total INTEGER)")
    wrong = []
    for key in [key for key, counts in parts(client, f"{out}counts", left) if counts]:
        for line in client.get(s3.BUCKET, key).splitlines():
            change = json.loads(line)
            if before := change.get("before"):
                gone = db.execute("DELETE FROM counts WHERE name = :name AND seen = :seen AND total = :total", before)
                if gone.rowcount != 1:
                    wrong.append(f"counts: takes back what is not there: {before} in {key}")
            if after := change.get("after"):
                db.execute("INSERT INTO counts VALUES (:name, :seen, :total)", after)
    return wrong
