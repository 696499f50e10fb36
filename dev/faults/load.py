"""What the job reads and writes: a feeder of rows that never come twice, and the ledger that SQLite makes of them.

Every row has a number of its own. The job copies rows one by one and counts them per name; so what is lost, written twice or counted wrong shows by number.
"""

import json
import random
import sqlite3
import threading
from dataclasses import dataclass

from dev.demo.ledger import in_commit_order
from dev.lib.kubectl import Kubectl, Object
from dev.lib.s3 import S3, S3Error
from dev.s3 import install as s3

FOLDER = "faults"
NAMES = 50


def sql(rate: int, extra: str = "", poisoned: bool = False) -> str:
    """The job. `rate` bounds what each subtask reads; `extra` is another aggregate of the counts; a poisoned one fails at its first record."""
    column, value = (f", {extra} INT", f", {extra}(n) AS {extra}") if extra else ("", "")
    poison = " WHERE 7 / (n - n) > 0" if poisoned else ""
    return f"""SET 'streamkeeper.source.rows-per-second' = '{rate}';
CREATE TABLE events (id BIGINT, name STRING, n INT) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{FOLDER}/in/', 'format' = 'json', 'source.monitor-interval' = '1s');
CREATE TABLE copies (id BIGINT, name STRING, n INT) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{FOLDER}/copies/', 'format' = 'json');
CREATE TABLE counts (name STRING, seen BIGINT, total INT{column}) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{FOLDER}/counts/', 'format' = 'debezium-json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT id, name, n FROM events;
INSERT INTO counts SELECT name, COUNT(*) AS seen, SUM(n) AS total{value} FROM events{poison} GROUP BY name;
END;
"""


def manifest(text: str, **spec: object) -> Object:
    """The StreamJob."""
    return {
        "apiVersion": "streamkeeper.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": {"name": "load"},
        "spec": {"sql": {"text": text}, "checkpoints": {"interval": "1s"}, **spec},
    }


def snapshot(name: str) -> Object:
    """A StreamSnapshot of the job, whose folder goes with it."""
    return {
        "apiVersion": "streamkeeper.dev/v1alpha1",
        "kind": "StreamSnapshot",
        "metadata": {"name": name},
        "spec": {"jobRef": {"name": "load"}, "deletionPolicy": "Delete"},
    }


def clear(kubectl: Kubectl, client: S3, namespace: str) -> None:
    """Removes what an earlier run left: snapshots and the job first, then input, output and state."""
    for kind in ("streamsnapshots", "streamjobs"):
        kubectl.run("delete", kind, "--all", "--timeout=120s", timeout=150)
    for prefix in (f"{FOLDER}/", f"state/{namespace}/"):
        for entry in list(client.entries(s3.BUCKET, prefix)):
            client.delete(s3.BUCKET, entry.key)


class Feeder:
    """Puts an object of rows into the input folder every second, until told to stop. A store that is down makes it wait, never skip."""

    def __init__(self, client: S3, seed: int, rows_per_object: int) -> None:
        self.client = client
        self.rows: list[tuple[int, str, int]] = []
        self._dice = random.Random(seed)
        self._each = rows_per_object
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[tuple[int, str, int]]:
        """No more; answers all rows that are in the store."""
        self._stop.set()
        self._thread.join(120)
        if self._thread.is_alive():
            raise AssertionError("the feeder cannot finish its last object: the store does not answer")
        return self.rows

    def _feed(self) -> None:
        number = 0
        while not self._stop.is_set():
            first = number * self._each
            rows = [(first + i, f"n{self._dice.randrange(NAMES)}", self._dice.randrange(100)) for i in range(self._each)]
            body = "\n".join(json.dumps({"id": i, "name": name, "n": n}) for i, name, n in rows) + "\n"
            # The same object again does no harm: same name, same bytes.
            while True:
                try:
                    self.client.put(s3.BUCKET, f"{FOLDER}/in/{number:06}.json", body.encode())
                    break
                except (OSError, S3Error):
                    if self._stop.wait(1):
                        return
            self.rows += rows
            number += 1
            self._stop.wait(1)


@dataclass(frozen=True)
class Verdict:
    """Rows expected and found by number; counts that are wrong; changes that contradict what was there."""

    expected: int
    found: int
    lost: int
    duplicated: int
    wrong_counts: int
    examples: list[str]

    @property
    def exact(self) -> bool:
        """Nothing lost, nothing twice, nothing wrong."""
        return self.lost == self.duplicated == self.wrong_counts == 0 and self.expected == self.found

    def __str__(self) -> str:
        return f"ledger: {self.expected} rows expected, {self.found} found, {self.lost} lost, {self.duplicated} duplicated, {self.wrong_counts} counts wrong"


def written(client: S3, counted: dict[str, int]) -> int:
    """Rows in the folder of copies. Objects never change, so each is read once: `counted` remembers."""
    for entry in client.entries(s3.BUCKET, f"{FOLDER}/copies/"):
        if entry.key not in counted:
            counted[entry.key] = client.get(s3.BUCKET, entry.key).count(b"\n")
    return sum(counted.values())


def check(client: S3, rows: list[tuple[int, str, int]]) -> Verdict:
    """Holds the output against the rows that were fed."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE fed (id INTEGER, name TEXT, n INTEGER)")
    db.executemany("INSERT INTO fed VALUES (?, ?, ?)", rows)
    db.execute("CREATE TABLE copies (id INTEGER, name TEXT, n INTEGER)")
    for entry in client.entries(s3.BUCKET, f"{FOLDER}/copies/"):
        lines = [json.loads(line) for line in client.get(s3.BUCKET, entry.key).splitlines()]
        db.executemany("INSERT INTO copies VALUES (:id, :name, :n)", lines)
    db.execute("CREATE INDEX by_id ON copies (id)")
    lost = db.execute("SELECT * FROM fed EXCEPT SELECT * FROM copies").fetchall()
    twice = db.execute("SELECT id, COUNT(*) FROM copies GROUP BY id HAVING COUNT(*) > 1").fetchall()
    examples = [f"lost: {row}" for row in lost[:5]] + [f"{count} times: id {number}" for number, count in twice[:5]]
    wrong = _fold(db, client)
    expected = "SELECT name, COUNT(*), SUM(n) FROM fed GROUP BY name"
    wrong += [f"counts: expected, not found: {row}" for row in db.execute(f"{expected} EXCEPT SELECT * FROM counts")]
    wrong += [f"counts: found, not expected: {row}" for row in db.execute(f"SELECT * FROM counts EXCEPT {expected}")]
    found = db.execute("SELECT COUNT(*) FROM copies").fetchone()[0]
    return Verdict(len(rows), found, len(lost), sum(count - 1 for _, count in twice), len(wrong), (examples + wrong)[:15])


def _fold(db: sqlite3.Connection, client: S3) -> list[str]:
    """Applies the changelog of the counts; answers changes that contradict what is there. A column that comes and goes with an edit is left out."""
    db.execute("CREATE TABLE counts (name TEXT, seen INTEGER, total INTEGER)")
    wrong = []
    keys = in_commit_order(entry.key for entry in client.entries(s3.BUCKET, f"{FOLDER}/counts/"))
    for key in keys:
        for line in client.get(s3.BUCKET, key).splitlines():
            change = json.loads(line)
            if before := change.get("before"):
                gone = db.execute("DELETE FROM counts WHERE name = :name AND seen = :seen AND total = :total", before)
                if gone.rowcount != 1:
                    wrong.append(f"counts: takes back what is not there: {before} in {key}")
            if after := change.get("after"):
                db.execute("INSERT INTO counts VALUES (:name, :seen, :total)", after)
    return wrong
