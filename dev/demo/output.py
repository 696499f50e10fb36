"""Compares the output of the flights job with a recomputation of its input by SQLite, row for row.

    python3 -m dev.demo.output INPUT_DIR DELAYS_DIR AIRPORTS_DIR

The folders hold what the object store held: `*.jsonl.gz` of flights, and the parts of the two sinks.
"""

import gzip
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.lib import ledger

# The job's two queries, for SQLite. `flights` has the raw rows.
EXPECTED_DELAYS = """
    SELECT carrier, strftime('%Y-%m-%d %H:00:00', sched_dep) AS window_start, COUNT(*) AS flights, SUM(dep_delay) AS delay
    FROM flights GROUP BY carrier, window_start"""
EXPECTED_AIRPORTS = "SELECT origin, COUNT(*) AS flights FROM flights GROUP BY origin"
EXPECTED_WORST = """
    SELECT carrier, strftime('%Y-%m-%d %H:00:00', sched_dep) AS window_start, MAX(dep_delay) AS worst
    FROM flights GROUP BY carrier, window_start"""


@dataclass
class Verdict(ledger.Verdict):
    """The verdict over both sinks. `wrong` counts rows whose added column is more than all flights of its window say."""

    added_exact: int = 0
    """Rows whose added column (MAX) is exact."""
    added_partial: int = 0
    """Rows whose added column saw only what came after the edit that added it: their window was open then."""


def check(flights: Iterable[bytes], delays: Iterable[bytes], airports: Iterable[bytes]) -> Verdict:
    """Compares lines of JSON: the flights, and the parts of both sinks, those of `airports` in commit order."""
    tables = ledger.Tables()
    raw = (json.loads(line) for line in flights)
    columns = ("sched_dep", "carrier", "origin", "dep_delay")
    tables.fill("flights", "sched_dep TEXT, carrier TEXT, origin TEXT, dep_delay INTEGER", ([row[c] for c in columns] for row in raw))
    found = "carrier TEXT, window_start TEXT, flights INTEGER, delay REAL, worst REAL"
    tables.fill("found_delays", found, (_delay(json.loads(line)) for line in delays))
    wrong_changes = tables.apply("found_airports", "origin TEXT, flights INTEGER", airports)

    verdict = Verdict(0, duplicated=len(wrong_changes))
    verdict.add_examples(wrong_changes)
    for name, want, have, key in (
        ("delays", EXPECTED_DELAYS, "SELECT carrier, window_start, flights, delay FROM found_delays", "carrier, window_start"),
        ("airports", EXPECTED_AIRPORTS, "SELECT origin, flights FROM found_airports", "origin"),
    ):
        difference = tables.compare(name, want, have, key)
        verdict.expected += difference.expected
        verdict.found += difference.found
        verdict.lost += len(difference.missing)
        verdict.duplicated += difference.surplus
        verdict.add_examples(difference.examples)
    added = tables.rows(
        f"SELECT f.worst = w.worst, f.worst > w.worst FROM found_delays f JOIN ({EXPECTED_WORST}) w USING (carrier, window_start)"
        " WHERE f.worst IS NOT NULL"
    )
    verdict.added_exact = sum(1 for same, _ in added if same)
    verdict.wrong = sum(1 for _, more in added if more)
    verdict.added_partial = len(added) - verdict.added_exact - verdict.wrong
    return verdict


def _delay(row: dict) -> tuple:
    return row["carrier"], row["window_start"][:19].replace("T", " "), row["flights"], row["delay"], row.get("worst")


def main() -> int:
    """Runs the command at the top of this file."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    flights, delays, airports = (Path(argument) for argument in sys.argv[1:])
    raw = (line for day in sorted(flights.glob("*.jsonl.gz")) for line in gzip.decompress(day.read_bytes()).splitlines())
    parts = lambda folder: (  # noqa: E731
        line for name in ledger.in_commit_order(p.name for p in folder.glob("part-*")) for line in (folder / name).read_bytes().splitlines()
    )
    verdict = check(raw, parts(delays), parts(airports))
    print(verdict)
    for example in verdict.examples:
        print(f"  {example}")
    return 0 if verdict.exact else 1


if __name__ == "__main__":
    sys.exit(main())
