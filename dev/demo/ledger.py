"""Holds the job's output against a recomputation of its input by SQLite, row for row.

    python3 -m dev.demo.ledger INPUT_DIR DELAYS_DIR AIRPORTS_DIR

The folders hold what the object store held: `*.jsonl.gz` of flights; the parts of the two sinks.
Nothing here knows how the engine works: SQLite reads the raw flights and answers the same question.
"""

import gzip
import json
import sqlite3
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# What the job's two queries ask, asked of SQLite. `flights` has the raw rows.
EXPECTED_DELAYS = """
    SELECT carrier, strftime('%Y-%m-%d %H:00:00', sched_dep) AS window_start, COUNT(*) AS flights, SUM(dep_delay) AS delay
    FROM flights GROUP BY carrier, window_start"""
EXPECTED_AIRPORTS = "SELECT origin, COUNT(*) AS flights FROM flights GROUP BY origin"
EXPECTED_WORST = """
    SELECT carrier, strftime('%Y-%m-%d %H:00:00', sched_dep) AS window_start, MAX(dep_delay) AS worst
    FROM flights GROUP BY carrier, window_start"""


@dataclass(frozen=True)
class Verdict:
    """Rows expected and found over both sinks; `lost` are expected and absent or wrong, `duplicated` are surplus."""

    expected: int
    found: int
    lost: int
    duplicated: int
    examples: list[str]
    """Up to ten differences, for a person."""
    added_exact: int
    """Rows whose added column (MAX) is exact."""
    added_partial: int
    """Rows whose added column saw only what came after the edit that added it: their window was open then."""
    added_wrong: int
    """Rows whose added column is more than all flights of its window say: never right."""

    @property
    def exact(self) -> bool:
        """Nothing lost, nothing twice, nothing wrong."""
        return self.lost == self.duplicated == self.added_wrong == 0 and self.expected == self.found

    def __str__(self) -> str:
        return f"ledger: {self.expected} rows expected, {self.found} found, {self.lost} lost, {self.duplicated} duplicated"


def check(flights: Iterable[bytes], delays: Iterable[bytes], airports: Iterable[bytes]) -> Verdict:
    """Compare. `flights` and the sinks' parts are lines of JSON; the parts of `airports` in the order of their checkpoints."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE flights (sched_dep TEXT, carrier TEXT, origin TEXT, dep_delay INTEGER)")
    db.executemany(
        "INSERT INTO flights VALUES (:sched_dep, :carrier, :origin, :dep_delay)", (json.loads(line) for line in flights)
    )
    db.execute("CREATE TABLE found_delays (carrier TEXT, window_start TEXT, flights INTEGER, delay REAL, worst REAL)")
    for line in delays:
        row = json.loads(line)
        cells = (row["carrier"], row["window_start"][:19].replace("T", " "), row["flights"], row["delay"], row.get("worst"))
        db.execute("INSERT INTO found_delays VALUES (?, ?, ?, ?, ?)", cells)
    surplus = _fold(db, airports)

    expected = found = lost = duplicated = 0
    examples: list[str] = list(surplus)
    for name, want, have, key in (
        ("delays", EXPECTED_DELAYS, "SELECT carrier, window_start, flights, delay FROM found_delays", "carrier, window_start"),
        ("airports", EXPECTED_AIRPORTS, "SELECT origin, flights FROM found_airports", "origin"),
    ):
        expected += _count(db, want)
        found += _count(db, have)
        missing = db.execute(f"{want} EXCEPT {have}").fetchall()
        strange = db.execute(f"SELECT * FROM ({have}) EXCEPT SELECT * FROM ({want})").fetchall()
        twice = db.execute(f"SELECT {key}, COUNT(*) FROM ({have}) GROUP BY {key} HAVING COUNT(*) > 1").fetchall()
        lost += len(missing)
        duplicated += sum(row[-1] - 1 for row in twice)
        examples += [f"{name}: expected, not found: {row}" for row in missing[:5]]
        examples += [f"{name}: found, not expected: {row}" for row in strange[:5]]
        examples += [f"{name}: found {row[-1]} times: {row[:-1]}" for row in twice[:5]]
    added = db.execute(
        f"SELECT f.worst = w.worst, f.worst > w.worst FROM found_delays f JOIN ({EXPECTED_WORST}) w USING (carrier, window_start)"
        " WHERE f.worst IS NOT NULL"
    ).fetchall()
    exact = sum(1 for same, _ in added if same)
    wrong = sum(1 for _, more in added if more)
    return Verdict(
        expected, found, lost, duplicated + len(surplus), examples[:10], exact, len(added) - exact - wrong, wrong
    )


def _fold(db: sqlite3.Connection, changes: Iterable[bytes]) -> list[str]:
    """Applies the changelog of `airports` in order; answers changes that contradict what is there."""
    db.execute("CREATE TABLE found_airports (origin TEXT, flights INTEGER)")
    wrong = []
    for line in changes:
        change = json.loads(line)
        before, after = change.get("before"), change.get("after")
        if before is not None:
            gone = db.execute(
                "DELETE FROM found_airports WHERE rowid = (SELECT rowid FROM found_airports WHERE origin = ? AND flights = ? LIMIT 1)",
                (before["origin"], before["flights"]),
            )
            if gone.rowcount != 1:
                wrong.append(f"airports: takes back what is not there: {before}")
        if after is not None:
            db.execute("INSERT INTO found_airports VALUES (?, ?)", (after["origin"], after["flights"]))
    return wrong


def _count(db: sqlite3.Connection, query: str) -> int:
    return db.execute(f"SELECT COUNT(*) FROM ({query})").fetchone()[0]


def in_commit_order(names: Iterable[str]) -> list[str]:
    """Parts of a sink (`…-<subtask>-<checkpoint>.json`) by checkpoint, then subtask."""

    def order(name: str) -> tuple[int, int]:
        *_, subtask, checkpoint = name.rsplit(".", 1)[0].split("-")
        return int(checkpoint), int(subtask)

    return sorted(names, key=order)


def main() -> int:
    """The command line at the top of this file."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    flights, delays, airports = (Path(argument) for argument in sys.argv[1:])
    raw = (line for day in sorted(flights.glob("*.jsonl.gz")) for line in gzip.decompress(day.read_bytes()).splitlines())
    parts = lambda folder: (  # noqa: E731
        line for name in in_commit_order(p.name for p in folder.glob("part-*")) for line in (folder / name).read_bytes().splitlines()
    )
    verdict = check(raw, parts(delays), parts(airports))
    print(verdict)
    for example in verdict.examples:
        print(f"  {example}")
    return 0 if verdict.exact else 1


if __name__ == "__main__":
    sys.exit(main())
