"""The steps of the demonstration. Each changes or breaks something, waits, and notes what it cost."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dev.demo import flights
from dev.demo.watch import RETRY, Job, Pause, condition, settled
from dev.lib import narrate, wait
from dev.lib.cluster import Cluster, Local
from dev.lib.kubectl import Kubectl, Object

OPERATOR_NAMESPACE, OPERATOR_SELECTOR = "streamkeeper", "app.kubernetes.io/component=operator"
LONG = 180
MISSING_IMAGE = "localhost/streamjob-runtime:does-not-exist"


@dataclass(frozen=True)
class Row:
    """A line of the table at the end."""

    transition: str
    pause: str
    restored_from: str
    rows: int
    seconds: float | None = None
    """Length of the pause, where the job measured one."""


@dataclass
class Story:
    """The job, what happened to it so far, and the manifest as it stands."""

    cluster: Cluster
    job: Job
    manifest: str
    speed: int
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.manifest = flights.with_rate(self.manifest, self.speed)

    # ------------------------------------------------------------ the steps

    def apply_first(self) -> None:
        """`kubectl apply` of the example."""
        with narrate.Step("kubectl apply -f examples/flights/streamjob.yaml", usually="6 s") as step:
            begin = time.monotonic()
            self._apply(self.manifest)
            self.job.wait_settled(LONG, step.update)
            self.job.wait_flowing(LONG, 0, step.update)
            self.rows.append(Row("first start", f"{time.monotonic() - begin:.1f} s to the first rows", "nothing", self._rows_read()))
            self.job.wait_checkpointed(LONG, step.update)

    def kill_worker(self, ordinal: int) -> None:
        """kill -9 of a worker's process. Its pod stays, and no other process is informed."""
        with self._measured(f"kill -9 of worker {ordinal}", usually="3 s") as note:
            kill_process(self.cluster, self.job.kubectl, self.job.pod(ordinal))
            note.recovered()

    def scale(self, replicas: int) -> None:
        """`kubectl scale`."""
        before = self.job.object()["spec"]["workers"]["replicas"]
        with self._measured(f"kubectl scale sj/delays --replicas={replicas} (from {before})", usually="8 s", name=f"rescale {before} to {replicas}") as note:
            self.job.kubectl.run("scale", f"sj/{self.job.name}", f"--replicas={replicas}")
            self.manifest = flights.with_replicas(self.manifest, replicas)
            note.settled()

    def edit(self, title: str, change: Callable[[str], str], name: str) -> None:
        """An edit that needs new pods: standby, hand-over, verify, retire."""
        with self._measured(title, usually="12 s", name=name) as note:
            self.manifest = change(self.manifest)
            self._apply(self.manifest)
            note.settled()

    def suspend_and_resume(self) -> None:
        """`spec.suspend`: true, then false."""
        with narrate.Step("suspend: a savepoint, then no pods", usually="6 s") as step:
            self._apply(flights.suspended(self.manifest))
            self.job.wait("the job to be suspended", _suspended, LONG, step.update)
            none = "app.kubernetes.io/component=worker"
            wait.until("its pods to go", lambda: _none_left(self.job, none), LONG, retry=RETRY, on_pending=step.update)
            step.result("no pods left, state on S3")
        with self._measured("resume", usually="6 s", name="suspend, resume") as note:
            self._apply(self.manifest)
            note.settled()

    def broken_image(self) -> None:
        """An upgrade to an image that does not exist must not hurt."""
        revision, restarts = self.job.revision(), self._restarts()
        begin = int(time.time() * 1000)
        with narrate.Step("an upgrade to an image that does not exist", usually="15 s") as step:
            self._apply(flights.with_image(self.manifest, MISSING_IMAGE))
            stalled = self.job.wait("the condition that says so", _stalled, LONG, step.update)
            pauses = [p for p in self.job.pauses() if p.last_before_ms > begin]
            same = self.job.revision() == revision and self._restarts() == restarts
            if pauses or not same:
                raise AssertionError(f"the running job was touched: pauses {pauses}, revision {self.job.revision()}, restarts {self._restarts()}")
            self.job.wait_flowing(30)
            step.result("the running revision shows 0 restarts, 0 s pause")
        reason = condition(stalled, "Stalled")
        narrate.say(f"The condition says: {reason['reason']}: {reason['message']}")
        self.rows.append(Row("upgrade to a missing image", "0 s", "-", self._rows_read(), 0.0))
        with narrate.Step("taking the edit back", usually="3 s") as step:
            self._apply(self.manifest)
            self.job.wait_settled(LONG, step.update)

    def lose_node(self) -> None:
        """Power loss of a node that runs a worker; it stays off."""
        index, ordinal = self._victim()
        with self._measured(f"power loss of node n{index}, which runs worker {ordinal}", usually="20 s", name="node lost") as note:
            self.cluster.node("kill", index)
            note.recovered()
        with narrate.Step("the node comes back", usually="3 s"):
            self.cluster.node("start", index)

    def operator_dies_in_upgrade(self, change: Callable[[str], str]) -> None:
        """The operator's pod is deleted while an upgrade is under way."""
        with self._measured("an upgrade, and the operator's pod deleted in the middle of it", usually="15 s", name="upgrade, operator killed") as note:
            self.manifest = change(self.manifest)
            self._apply(self.manifest)
            seen = self.job.wait("the upgrade to begin", _upgrading, LONG, note.step.update)
            operator = self.job.kubectl.at(OPERATOR_NAMESPACE)
            for pod in operator.objects("pods", OPERATOR_SELECTOR):
                operator.delete_pod_by_force(pod["metadata"]["name"])
            note.detail = f"killed while {seen['status']['transition']['step']}"
            note.settled()

    def finish(self, rows: int) -> None:
        """The rest of the input at full speed, until the job says that it is complete."""
        self.edit("the rest at full speed (an edit of the SQL)", lambda text: flights.with_rate(text, None), "upgrade, last")
        with narrate.Step("reading to the end", usually="5 s") as step:
            self.job.wait("the job to complete", _completed, 300, step.update)
            step.result(f"{rows} flights")

    # ------------------------------------------------------------ helping them

    def _apply(self, manifest: str) -> None:
        self.job.kubectl.apply(manifest)

    def _rows_read(self) -> int:
        return int(self.job.report()["records_in"])

    def _restarts(self) -> int:
        return int(self.job.object()["status"].get("restarts", {}).get("count", 0))

    def _measured(self, title: str, *, usually: str, name: str = "") -> "_Measured":
        return _Measured(self, title, usually, name or title)

    def _victim(self) -> tuple[int, int]:
        """A node that runs a worker, but neither the S3 server (whose disk would be gone) nor, if possible, the operator."""
        revision = self.job.revision()
        kubectl = self.job.kubectl
        busy = {p["spec"].get("nodeName") for p in kubectl.at("storage").objects("pods")}
        avoid = {p["spec"].get("nodeName") for p in kubectl.at(OPERATOR_NAMESPACE).objects("pods", OPERATOR_SELECTOR)}
        hosts = []
        for ordinal in range(self.job.object()["spec"]["workers"]["replicas"]):
            node = kubectl.get("pod", self.job.pod(ordinal, revision))["spec"]["nodeName"]
            if node not in busy:
                hosts.append((node in avoid, -ordinal, node))
        if not hosts:
            raise AssertionError("every worker runs beside the S3 server: nothing to kill")
        _, ordinal, node = min(hosts)
        return self.cluster.node_names.index(node), -ordinal


class _Measured:
    """A step whose cost is the newest pause that the job itself measured since the step began."""

    def __init__(self, story: Story, title: str, usually: str, name: str) -> None:
        self.story, self.name, self.detail = story, name, ""
        self.step = narrate.Step(title, usually=usually)
        self.began_ms = 0

    def __enter__(self) -> "_Measured":
        self.began_ms = int(time.time() * 1000)
        self.step.__enter__()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.step.__exit__(kind, error, trace)

    def settled(self) -> None:
        """The spec is in force, records flow again."""
        self.story.job.wait_settled(LONG, self.step.update)
        self.recovered()

    def recovered(self) -> None:
        """Records flow again; note the pause."""

        def look() -> tuple[Pause, Object] | wait.Pending:
            job = self.story.job
            report = job.report()
            # The last record before may be a little older than our own clock reading.
            ours = [p for p in job.pauses() if (p.first_after_ms or self.began_ms) >= self.began_ms]
            if not ours:
                return wait.Pending(f"{report['phase']}: no pause yet")
            newest = ours[0]
            if newest.seconds is None or report["phase"] not in ("Running", "Completed"):
                return wait.Pending(f"{report['phase']}")
            return newest, report

        pause, report = wait.until("records to flow again", look, LONG, interval=0.2, retry=RETRY, on_pending=self.step.update)
        seconds = f"{pause.seconds:.1f} s"
        source = "nothing" if pause.restored_from is None else f"checkpoint {pause.restored_from}"
        self.story.rows.append(Row(self.name, seconds, source, report["records_in"], pause.seconds))
        self.step.result(f"pause {seconds}, from {source}{', ' + self.detail if self.detail else ''}")


def kill_process(cluster: Cluster, kubectl: Kubectl, pod: str) -> None:
    """kill -9 of the process in a pod's container; where the node cannot be reached, the pod is deleted instead."""
    if not isinstance(cluster, Local):
        kubectl.delete_pod_by_force(pod)
        return
    found = kubectl.get("pod", pod)
    container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    node = cluster.node_names.index(found["spec"]["nodeName"])
    cluster.ctr(node, "tasks", "kill", "--signal", "SIGKILL", container)


def _suspended(job: Object) -> str | None:
    if job["status"].get("observedGeneration") == job["metadata"]["generation"] and condition(job, "Suspended").get("status") == "True":
        return None
    return json.dumps(condition(job, "Reconciling") or condition(job, "Stalled"))


def _stalled(job: Object) -> str | None:
    stalled = condition(job, "Stalled")
    if job["status"].get("observedGeneration") == job["metadata"]["generation"] and stalled.get("status") == "True":
        return None
    return condition(job, "Reconciling").get("message", "no Stalled condition yet")


def _upgrading(job: Object) -> str | None:
    transition = job["status"].get("transition") or {}
    return None if transition.get("kind") == "Upgrade" else f"transition: {transition or 'none'}"


def _completed(job: Object) -> str | None:
    phase = job["status"].get("phase")
    return None if phase == "Completed" and settled(job) is None else f"phase {phase}"


def _none_left(job: Job, selector: str) -> bool | wait.Pending:
    pods = job.kubectl.objects("pods", selector)
    return True if not pods else wait.Pending(f"{len(pods)} left")
