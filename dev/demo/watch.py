"""What the job says of itself: its StreamJob's status, and the Job API of its coordinator."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from dev.demo.flights import JOB, NAMESPACE
from dev.lib import wait
from dev.lib.cluster import Cluster
from dev.lib.kubectl import CommandFailed, Object

RETRY = (CommandFailed, subprocess.TimeoutExpired, json.JSONDecodeError)
ANSWER, PATIENCE = 10, 60
"""Seconds after which a coordinator that has not answered is asked again, and until it must have answered."""


@dataclass(frozen=True)
class Pause:
    """A gap in the flow of records, measured by the job."""

    reason: str
    last_before_ms: int
    first_after_ms: int | None
    restored_from: int | None

    @property
    def seconds(self) -> float | None:
        """Its length, once it is over."""
        return None if self.first_after_ms is None else (self.first_after_ms - self.last_before_ms) / 1000


class Job:
    """The StreamJob of the demonstration on one cluster."""

    def __init__(self, cluster: Cluster, name: str = JOB, namespace: str = NAMESPACE) -> None:
        self.kubectl = cluster.kubectl.at(namespace)
        self.name = name
        self.namespace = namespace
        self.secured: dict[str, bool] = {}

    def object(self) -> Object:
        """The StreamJob."""
        return self.kubectl.get("streamjob", self.name)

    def revision(self) -> int:
        """Number of the running revision."""
        return int(self.object()["status"]["revision"]["current"])

    def pod(self, ordinal: int = 0, revision: int | None = None) -> str:
        """Name of a worker's pod."""
        return f"{self.name}-r{revision or self.revision()}-{ordinal}"

    def report(self) -> Object:
        """The coordinator's report: through the API server's proxy, or asked for in its pod where only the job itself may ask."""
        pod = self.pod()
        if pod not in self.secured:
            self.secured[pod] = any("secret" in volume for volume in self.kubectl.get("pod", pod)["spec"]["volumes"])
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:8081/proxy/v1/report"
        ask = ("exec", pod, "--", "/streamjob-runtime", "report") if self.secured[pod] else ("get", "--raw", path)

        def answer() -> Object:
            told: Object = json.loads(self.kubectl.run(*ask, timeout=ANSWER))
            return told

        return wait.until(f"an answer of {pod}", answer, PATIENCE, retry=(subprocess.TimeoutExpired,))

    def pauses(self) -> list[Pause]:
        """Recent pauses, newest first."""
        return [Pause(p["reason"], p["last_before_ms"], p["first_after_ms"], p["restored_from"]) for p in self.report()["pauses"]]

    def wait(self, what: str, probe: Callable[[Object], str | None], seconds: float, on_pending: Callable[[str], None] | None = None) -> Object:
        """Waits until `probe(StreamJob)` returns None. Until then the probe returns what it sees."""
        return self.kubectl.wait_for(what, "streamjob", self.name, probe, seconds, on_pending)

    def wait_settled(self, seconds: float, on_pending: Callable[[str], None] | None = None) -> Object:
        """Wait until the spec as it stands is in force and the job is fine."""
        return self.wait("the job to be Ready with nothing under way", settled, seconds, on_pending)

    def wait_flowing(self, seconds: float, since: int | None = None, on_pending: Callable[[str], None] | None = None) -> Object:
        """Wait until records flow (again): the count grows beyond `since`, or beyond what it was at the first look."""
        start = [since]

        def look() -> Object | wait.Pending:
            report = self.report()
            if start[0] is None:
                start[0] = report["records_in"]
            if report["phase"] in ("Running", "Completed") and report["records_in_attempt"] > 0 and report["records_in"] > (start[0] or 0):
                return report
            return wait.Pending(f"{report['phase']}, {report['records_in']} rows read")

        return wait.until("records to flow", look, seconds, interval=0.2, retry=RETRY, on_pending=on_pending)

    def wait_checkpointed(self, seconds: float, on_pending: Callable[[str], None] | None = None) -> None:
        """Wait for a checkpoint that began from now on.

        A job whose only checkpoints began before its first record measures no pause when it fails: with those
        checkpoints it goes back to before any record, and a gap has two sides.
        """
        now_ms = int(time.time() * 1000)

        def look() -> bool | wait.Pending:
            last = self.report()["last_checkpoint"]
            if last is not None and last["completed_ms"] - last["duration_ms"] >= now_ms:
                return True
            return wait.Pending("no checkpoint" if last is None else f"checkpoint {last['id']}")

        wait.until("a checkpoint with the records read so far", look, seconds, retry=RETRY, on_pending=on_pending)


def condition(job: Object, kind: str) -> Object:
    """One condition of a StreamJob; empty when it has none of that type."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def settled(job: Object) -> str | None:
    """A probe: None when the spec is in force and the job is Ready."""
    status = job.get("status", {})
    if status.get("observedGeneration") != job["metadata"]["generation"]:
        return "the operator has not seen the edit yet"
    if status.get("transition"):
        step = status["transition"]
        return f"{step['kind']}: {step['step']}; {condition(job, 'Reconciling').get('message', '')}"
    ready = condition(job, "Ready")
    if ready.get("status") != "True":
        return f"Ready={ready.get('status')}: {ready.get('reason')}: {ready.get('message')}"
    return None
