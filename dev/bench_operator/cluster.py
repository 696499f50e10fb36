"""What the controllers do that do not run here: pods for StatefulSets, at once ready."""

import itertools
import json
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dev.bench_operator.control_plane import Client
from dev.bench_operator.coordinators import DEAF_S3, Coordinator, Coordinators

NAMESPACE = "bench"
DEAF = "deaf"
WORKERS = 6
STREAM_JOBS = f"/apis/streamkeeper.dev/v1alpha1/namespaces/{NAMESPACE}/streamjobs"
DEAF_JOBS = f"/apis/streamkeeper.dev/v1alpha1/namespaces/{DEAF}/streamjobs"
_local = threading.local()


def client() -> Client:
    """The connection of this thread."""
    if not hasattr(_local, "client"):
        _local.client = Client()
    return _local.client  # type: ignore[no-any-return]


class Cluster:
    """Follows the StatefulSets that the operator makes."""

    def __init__(self, coordinators: Coordinators) -> None:
        self.coordinators = coordinators
        self.sets: "queue.Queue[dict[str, Any]]" = queue.Queue()
        self.numbers = itertools.count(2)
        self.broken: Exception | None = None
        for what in (self._watch, *[self._work] * WORKERS):
            threading.Thread(target=self._do, args=(what,), daemon=True).start()

    def create_jobs(self, first: int, count: int, namespace: str = NAMESPACE) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda number: self._create_job(number, namespace), range(first, first + count)))

    def _create_job(self, number: int, namespace: str) -> None:
        job: dict[str, Any] = {
            "apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob", "metadata": {"name": f"job-{number}", "namespace": namespace},
            # A query of an ordinary size; a checkpoint a day, so that none is overdue while none is taken.
            "spec": {"sql": {"text": f"-- job {number}\n" + "INSERT INTO late SELECT * FROM flights;\n" * 25}, "checkpoints": {"interval": "24h"}},
        }
        if namespace == DEAF:
            job["spec"]["storage"] = {"s3": {"uri": "s3://deaf/state", "endpoint": f"http://127.0.0.1:{DEAF_S3}"}}
        client().done("POST", DEAF_JOBS if namespace == DEAF else STREAM_JOBS, job)

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:
            self.broken = error

    def _watch(self) -> None:
        known = set()
        while True:  # a watch ends after minutes, or when it is too slow; the next begins with all there are
            for line in Client().watch(f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets?resourceVersion=0"):
                event = json.loads(line)
                uid = event["object"]["metadata"].get("uid")
                if event["type"] == "ADDED" and uid not in known:
                    known.add(uid)
                    self.sets.put(event["object"])

    def _work(self) -> None:
        while True:
            self._run(self.sets.get())

    def _run(self, stateful_set: dict[str, Any]) -> None:
        meta, template = stateful_set["metadata"], stateful_set["spec"]["template"]
        number = next(self.numbers)
        address = f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        job = meta["ownerReferences"][0]
        revision = int(meta["labels"]["streamkeeper.dev/revision"])
        self.coordinators.add(address, Coordinator(NAMESPACE, job["name"], job["uid"], revision, self.coordinators.progress, self.coordinators.every))
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": meta["name"], "uid": meta["uid"], "controller": True}
        name = f"{meta['name']}-0"
        pod = {
            "apiVersion": "v1", "kind": "Pod", "spec": {**template["spec"], "nodeName": "nowhere"},
            "metadata": {**template["metadata"], "name": name, "namespace": NAMESPACE, "ownerReferences": [owner]},
        }
        client().done("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
        container = template["spec"]["containers"][0]
        status = {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": "", "ready": True, "restartCount": 0, "started": True,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }
        client().done("PATCH", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/status", {"status": status})
