"""The output of a job, compared row for row with what it must be.

SQLite computes the expected rows from the raw input. Nothing here knows how the engine works. Each
tool that runs a job brings the questions of this job; reading, applying changes, comparing and the
verdict are here.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dev.lib.s3 import S3

EXAMPLES = 15
EXAMPLES_OF_A_KIND = 5


@dataclass
class Verdict:
    """Rows expected and found. `lost` are expected and absent, `duplicated` are surplus, `wrong` have other values."""

    expected: int
    found: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    wrong_is: str = ""
    """What the line says about `wrong`: "counts wrong"; nothing if the line leaves it out."""
    note: str = ""
    """What the line says at its end."""
    examples: list[str] = field(default_factory=list)
    """A few differences, for the person who reads the line."""

    @property
    def exact(self) -> bool:
        """Whether every row is there once, with the right values."""
        return self.lost == self.duplicated == self.wrong == 0 and self.expected == self.found

    def add_examples(self, examples: Iterable[str]) -> None:
        """Adds differences while there are few."""
        for example in examples:
            if len(self.examples) >= EXAMPLES:
                return
            self.examples.append(example)

    def __str__(self) -> str:
        line = f"ledger: {self.expected} rows expected, {self.found} found, {self.lost} lost, {self.duplicated} duplicated"
        if self.wrong_is:
            line += f", {self.wrong} {self.wrong_is}"
        return f"{line}; {self.note}" if self.note else line


@dataclass(frozen=True)
class Difference:
    """Two tables, compared."""

    expected: int
    found: int
    missing: list[tuple]
    """Expected rows that were not found."""
    unexpected: list[tuple]
    """Rows found that were not expected."""
    surplus: int
    """Rows beyond the first of each key."""
    examples: list[str]


class Tables:
    """Tables of expected and found rows, in memory."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")

    def fill(self, table: str, columns: str, rows: Iterable[Sequence]) -> None:
        """Creates a table with rows. `columns` is SQL: `id INTEGER, name TEXT`."""
        self.db.execute(f"CREATE TABLE {table} ({columns})")
        places = ", ".join("?" for _ in columns.split(","))
        self.db.executemany(f"INSERT INTO {table} VALUES ({places})", rows)

    def apply(self, table: str, columns: str, changes: Iterable[bytes], key: str = "") -> list[str]:
        """Creates a table and applies a changelog to it: lines of JSON with `before` and `after`, in commit order.

        Returns the changes that contradict what is there. With `key`, this includes a second row of a key.
        """
        names = [column.split()[0] for column in columns.split(",")]
        self.fill(table, columns, ())
        same = " AND ".join(f"{name} IS :{name}" for name in names)
        values = ", ".join(f":{name}" for name in names)
        wrong = []
        for line in changes:
            change = json.loads(line)
            if (before := change.get("before")) is not None:
                if self.db.execute(f"DELETE FROM {table} WHERE {same}", before).rowcount != 1:
                    wrong.append(f"{table}: takes back what is not there: {before}")
            if (after := change.get("after")) is not None:
                if key and self.db.execute(f"SELECT 1 FROM {table} WHERE {key} IS :{key}", after).fetchone():
                    wrong.append(f"{table}: inserts a second row: {after}")
                self.db.execute(f"INSERT INTO {table} VALUES ({values})", after)
        return wrong

    def compare(self, name: str, expected: str, found: str, key: str) -> Difference:
        """Compares the rows of two queries. `key` names the columns that no two rows share."""
        missing = self.rows(f"SELECT * FROM ({expected}) EXCEPT SELECT * FROM ({found})")
        unexpected = self.rows(f"SELECT * FROM ({found}) EXCEPT SELECT * FROM ({expected})")
        twice = self.rows(f"SELECT {key}, COUNT(*) FROM ({found}) GROUP BY {key} HAVING COUNT(*) > 1")
        few = EXAMPLES_OF_A_KIND
        examples = [f"{name}: expected, not found: {row}" for row in missing[:few]]
        examples += [f"{name}: found, not expected: {row}" for row in unexpected[:few]]
        examples += [f"{name}: found {row[-1]} times: {row[:-1]}" for row in twice[:few]]
        surplus = sum(row[-1] - 1 for row in twice)
        return Difference(self._count(expected), self._count(found), missing, unexpected, surplus, examples)

    def rows(self, query: str) -> list[tuple]:
        """Returns the rows of a query."""
        return self.db.execute(query).fetchall()

    def _count(self, query: str) -> int:
        return self.rows(f"SELECT COUNT(*) FROM ({query})")[0][0]


def checkpoint_of(name: str) -> int:
    """Returns the checkpoint that committed a part of a sink: `…-<subtask>-<checkpoint>.json`."""
    return int(name.rsplit(".", 1)[0].rpartition("-")[2])


def in_commit_order(names: Iterable[str]) -> list[str]:
    """Returns the parts of a sink by checkpoint, then by subtask."""
    subtask = lambda name: int(name.rsplit(".", 1)[0].split("-")[-2])  # noqa: E731
    return sorted(names, key=lambda name: (checkpoint_of(name), subtask(name)))


def parts(client: S3, bucket: str, folder: str) -> list[str]:
    """Returns the parts that a sink committed to a folder, in commit order."""
    return in_commit_order(entry.key for entry in client.entries(bucket, folder))


def lines(client: S3, bucket: str, keys: Iterable[str]) -> Iterator[bytes]:
    """Yields the lines of objects."""
    for key in keys:
        yield from client.get(bucket, key).splitlines()
