"""The job, and what feeds it.

Every row has a number of its own. The job copies the rows and counts them by name. So each row that is lost, written twice or
counted wrong is known by its number.
"""

import json
import random
import threading

from dev.lib.kubectl import Kubectl, Object
from dev.lib.s3 import S3, S3Error
from dev.s3 import install as s3

FOLDER = "faults"
STATE = "state"
NAMES = 50


def sql(rate: int, extra: str = "", poisoned: bool = False, *, source: str = "in", out: str = "", bounded: bool = False) -> str:
    """A job. `rate` bounds what each subtask reads; `extra` is another aggregate of the counts; a poisoned one fails at its first record; a bounded one ends with what is there."""
    column, value = (f", {extra} INT", f", {extra}(n) AS {extra}") if extra else ("", "")
    poison = " WHERE 7 / (n - n) > 0" if poisoned else ""
    watch = "" if bounded else ", 'source.monitor-interval' = '1s'"
    return f"""SET 'streamkeeper.source.rows-per-second' = '{rate}';
CREATE TABLE events (id BIGINT, name STRING, n INT) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{FOLDER}/{source}/', 'format' = 'json'{watch});
CREATE TABLE copies (id BIGINT, name STRING, n INT) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{FOLDER}/{out}copies/', 'format' = 'json');
CREATE TABLE counts (name STRING, seen BIGINT, total INT{column}) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{FOLDER}/{out}counts/', 'format' = 'debezium-json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT id, name, n FROM events;
INSERT INTO counts SELECT name, COUNT(*) AS seen, SUM(n) AS total{value} FROM events{poison} GROUP BY name;
END;
"""


def manifest(text: str, name: str = "load", **spec: object) -> Object:
    """A StreamJob."""
    return {
        "apiVersion": "streamkeeper.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": {"name": name},
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
    for prefix in (f"{FOLDER}/", f"{STATE}/{namespace}/"):
        for entry in list(client.entries(s3.BUCKET, prefix)):
            client.delete(s3.BUCKET, entry.key)


class Feeder:
    """Puts an object of rows into the input folder every second, until `stop`. While the store is down it waits and never skips."""

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
        """Stops the feeder. Returns all rows that are in the store."""
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
            # A repeated object is harmless: the name and the bytes are equal.
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
