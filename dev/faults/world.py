"""The cluster, the job and its current spec; how a fault finds its victim, and whether it hit."""

import random
import socket
import ssl
from dataclasses import dataclass, field

from dev.demo.watch import Job
from dev.faults import load
from dev.lib import wait
from dev.lib.cluster import Local
from dev.lib.kubectl import CommandFailed, Object
from dev.lib.s3 import S3

KUBELET = 10250


class Missed(Exception):
    """A fault found no victim or did not happen; the message says why."""


@dataclass(frozen=True)
class Process:
    """The process in a pod's container, as the containerd of its node knows it."""

    node: int
    container: str
    pod: str


@dataclass
class World:
    """The cluster, the job, and its current spec."""

    cluster: Local
    job: Job
    store: S3
    dice: random.Random = field(default_factory=random.Random)
    rate: int = 1500
    workers: int = 2
    extra: str = ""
    snapshots: int = 0
    spec: Object = field(default_factory=dict)
    guest: Job | None = None
    """A second job, while it is the target of faults."""
    guests: int = 0
    left: list[range] = field(default_factory=list)
    """Checkpoints that the job left when it went back to a snapshot. It has written their output again."""

    @property
    def target(self) -> Job:
        """The job that is the target of faults."""
        return self.guest or self.job

    @property
    def snapshot(self) -> str:
        """Name of the newest snapshot."""
        return f"snapshot-{self.snapshots}"

    def apply(self, poisoned: bool = False, **more: object) -> None:
        """`kubectl apply` of the spec as it stands."""
        text = load.sql(self.rate, self.extra, poisoned)
        self.job.kubectl.apply(load.manifest(text, workers={"replicas": self.workers}, **{**self.spec, **more}))

    # ------------------------------------------------------------ pods and their processes

    def pods(self) -> list[Object]:
        """Returns the pods of the target that are not being deleted, of all revisions."""
        found = self.target.kubectl.objects("pods", f"streamkeeper.dev/job={self.target.name}")
        return sorted((pod for pod in found if "deletionTimestamp" not in pod["metadata"]), key=lambda pod: pod["metadata"]["name"])

    def pod(self, coordinator: bool) -> str:
        """One of them: the coordinator's of some revision, or another one."""
        names = [pod["metadata"]["name"] for pod in self.pods()]
        fitting = [name for name in names if name.endswith("-0") == coordinator]
        if not fitting:
            raise Missed(f"there is no {'coordinator' if coordinator else 'other worker'}")
        return self.dice.choice(fitting)

    def process(self, namespace: str, pod: str) -> Process:
        """The process in a pod's container."""
        found = self.cluster.kubectl.at(namespace).find("pod", pod) or {}
        statuses = found.get("status", {}).get("containerStatuses", [])
        container = statuses[0].get("containerID", "") if statuses and "running" in statuses[0].get("state", {}) else ""
        node = found.get("spec", {}).get("nodeName")
        if not container or node not in self.cluster.node_names:
            raise Missed(f"no container of {pod} runs")
        return Process(self.cluster.node_names.index(node), container.removeprefix("containerd://"), pod)

    def state(self, process: Process) -> str:
        """The kernel's letter for what it does (`S`: it sleeps, `T`: it was stopped); empty when it is gone."""
        told = self.cluster.ctr(process.node, "tasks", "ls")
        number = next((line.split()[1] for line in told.splitlines() if line.startswith(process.container) and "STOPPED" not in line), None)
        if number is None:
            return ""
        try:
            letter = self.cluster.inside(process.node, "cat", f"/proc/{number}/stat").rpartition(") ")[2][0]
        except CommandFailed:
            return ""
        return "" if letter in "ZX" else letter

    def signal(self, process: Process, signal: str) -> None:
        """Sends a signal."""
        try:
            self.cluster.ctr(process.node, "tasks", "kill", "--signal", signal, process.container)
        except CommandFailed as error:
            raise Missed(f"{signal} did not reach {process.pod}: {error.stderr.strip()[-200:]}") from error

    def kill(self, process: Process) -> None:
        """kill -9, and a look whether it is dead."""
        self.signal(process, "SIGKILL")
        self._until(process, "")

    def stop(self, process: Process) -> None:
        """SIGSTOP, and a look whether it stands still."""
        self.signal(process, "SIGSTOP")
        self._until(process, "T")

    def _until(self, process: Process, state: str) -> None:
        try:
            wait.until("the signal to work", lambda: self.state(process) == state or wait.Pending(f"{self.state(process)!r}"), 5)
        except wait.Timeout as error:
            raise Missed(f"{process.pod}: {error}") from error

    def go_on(self, process: Process) -> bool:
        """SIGCONT; whether it was there still: its node may have given up on it."""
        try:
            self.signal(process, "SIGCONT")
        except Missed:
            return False
        return True

    # ------------------------------------------------------------ nodes

    def node(self) -> int:
        """A node that runs a pod of the job, and not the store: its disk would be gone."""
        store = {pod["spec"].get("nodeName") for pod in self.cluster.kubectl.at("storage").objects("pods")}
        names = self.cluster.node_names
        used = {pod["spec"].get("nodeName") for pod in self.pods()}
        fitting = [name for name in names if name in used and name not in store]
        if not fitting:
            raise Missed("all pods of the job are beside the store, or nowhere")
        return names.index(self.dice.choice(fitting))

    def address(self, index: int) -> str:
        """The address of a node."""
        node = self.cluster.kubectl.get("node", self.cluster.node_names[index])
        return next(it["address"] for it in node["status"]["addresses"] if it["type"] == "InternalIP")


def answers(host: str, port: int, tls: bool = True) -> bool:
    """Returns whether a server accepts a connection within a second, with a TLS handshake if `tls`."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), 1) as plain:
            if tls:
                context.wrap_socket(plain).close()
        return True
    except OSError:
        return False
