"""The faults, and the transitions in the middle of which they strike."""

import json
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dev.demo.story import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.demo.watch import Job
from dev.faults import load
from dev.lib.cluster import SCRIPT, Local
from dev.lib.kubectl import CommandFailed, Object

NOBODY = "nobody"
MISSING_IMAGE = "localhost/streamjob-runtime:does-not-exist"


@dataclass
class World:
    """The cluster, the job, and the spec as it stands."""

    cluster: Local
    job: Job
    dice: random.Random
    rate: int = 1500
    workers: int = 2
    extra: str = ""
    snapshots: int = 0
    spec: Object = field(default_factory=dict)

    def apply(self, poisoned: bool = False, **more: object) -> None:
        """`kubectl apply` of the spec as it stands."""
        text = load.sql(self.rate, self.extra, poisoned)
        self.job.kubectl.apply(load.manifest(text, workers={"replicas": self.workers}, **{**self.spec, **more}))

    def container(self, signal: str, namespace: str, pod: str) -> bool:
        """Sends a signal to the process in a pod's container; whether there was one."""
        found = self.cluster.kubectl.at(namespace).find("pod", pod)
        statuses = (found or {}).get("status", {}).get("containerStatuses", [])
        name = statuses[0].get("containerID", "").removeprefix("containerd://") if statuses else ""
        node = (found or {}).get("spec", {}).get("nodeName")
        if not name or node not in self.cluster.node_names:
            return False
        try:
            self.cluster.ctr(self.cluster.node_names.index(node), "tasks", "kill", "--signal", signal, name)
        except CommandFailed:
            return False
        return True

    def pods(self) -> list[str]:
        """Pods of the job, whatever their revision."""
        return sorted(p["metadata"]["name"] for p in self.job.kubectl.objects("pods", "streamkeeper.dev/job=load"))

    def pod(self, first: bool) -> str | None:
        """One of the pods: the coordinator's of some revision, or another one."""
        pods = [name for name in self.pods() if name.endswith("-0") == first] or self.pods()
        return self.dice.choice(pods) if pods else None

    def busy_nodes(self) -> set[str]:
        """Nodes that must stay: the store's disk is there."""
        return {p["spec"].get("nodeName") for p in self.cluster.kubectl.at("storage").objects("pods")}

    def node(self) -> int:
        """A node without the store, that runs a pod of the job if there is one."""
        names, busy = self.cluster.node_names, self.busy_nodes()
        hosts = [p["spec"].get("nodeName") for p in self.job.kubectl.objects("pods", "streamkeeper.dev/job=load")]
        free = [name for name in names if name not in busy]
        used = [name for name in free if name in hosts] or free
        return names.index(self.dice.choice(used))


# Faults: each strikes, lasts for a while if it is of that kind, and is over when it returns.


def _kill(world: World, first: bool) -> str:
    pod = world.pod(first)
    return pod if pod and world.container("SIGKILL", world.job.namespace, pod) else NOBODY


def _freeze_for_a_while(world: World, first: bool) -> str:
    pod = world.pod(first)
    if not pod or not world.container("SIGSTOP", world.job.namespace, pod):
        return NOBODY
    time.sleep(world.dice.uniform(4, 9))
    world.container("SIGCONT", world.job.namespace, pod)
    return pod


def kill_worker(world: World) -> str:
    """kill -9 of a process that is not the coordinator's."""
    return _kill(world, first=False)


def kill_coordinator(world: World) -> str:
    """kill -9 of a coordinator's process."""
    return _kill(world, first=True)


def freeze_coordinator(world: World) -> str:
    """SIGSTOP of a coordinator for longer than its workers wait: it wakes up as a zombie."""
    return _freeze_for_a_while(world, first=True)


def freeze_worker(world: World) -> str:
    """The same of another worker."""
    return _freeze_for_a_while(world, first=False)


def kill_operator(world: World) -> str:
    """kill -9 of every operator process."""
    pods = [p["metadata"]["name"] for p in world.cluster.kubectl.at(OPERATOR_NAMESPACE).objects("pods", OPERATOR_SELECTOR)]
    return ", ".join(pod for pod in pods if world.container("SIGKILL", OPERATOR_NAMESPACE, pod))


def delete_operator(world: World) -> str:
    """Every pod of the operator deleted at once."""
    operator = world.cluster.kubectl.at(OPERATOR_NAMESPACE)
    pods = [p["metadata"]["name"] for p in operator.objects("pods", OPERATOR_SELECTOR)]
    for pod in pods:
        operator.delete_pod_by_force(pod)
    return ", ".join(pods)


def evict(world: World) -> str:
    """A pod evicted, as a drain does."""
    pod = world.pod(first=world.dice.random() < 0.5)
    if not pod:
        return NOBODY
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": world.job.namespace}}
    path = f"/api/v1/namespaces/{world.job.namespace}/pods/{pod}/eviction"
    try:
        world.job.kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    except CommandFailed as error:
        if not error.not_found:
            raise
        return NOBODY
    return pod


def delete_pod(world: World) -> str:
    """A pod deleted by force."""
    pod = world.pod(first=world.dice.random() < 0.5)
    if pod:
        world.job.kubectl.delete_pod_by_force(pod)
    return pod or NOBODY


def stop_store(world: World) -> str:
    """The S3 server does not answer for a while."""
    pods = [p["metadata"]["name"] for p in world.cluster.kubectl.at("storage").objects("pods")]
    for pod in pods:
        world.container("SIGSTOP", "storage", pod)
    time.sleep(world.dice.uniform(3, 8))
    for pod in pods:
        world.container("SIGCONT", "storage", pod)
    return ", ".join(pods)


def stop_api_server(world: World) -> str:
    """The API server is killed and comes back after a while."""
    subprocess.run([str(SCRIPT), "apiserver", "stop"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    time.sleep(world.dice.uniform(3, 8))
    subprocess.run([str(SCRIPT), "apiserver", "start"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return "kube-apiserver"


def _node_for_a_while(world: World, down: str, up: str, seconds: tuple[float, float]) -> str:
    index = world.node()
    world.cluster.node(down, index)
    time.sleep(world.dice.uniform(*seconds))
    world.cluster.node(up, index)
    return f"n{index}"


def kill_node(world: World) -> str:
    """Power loss of a node; it boots again later."""
    return _node_for_a_while(world, "kill", "start", (5, 30))


def partition_node(world: World) -> str:
    """A node's cable is pulled: what runs there runs on as zombies."""
    return _node_for_a_while(world, "partition", "heal", (5, 40))


def freeze_node(world: World) -> str:
    """A whole node stands still, and goes on where it was."""
    return _node_for_a_while(world, "freeze", "thaw", (5, 40))


# (fault, weight): those of whole nodes take longest.
FAULTS: list[tuple[Callable[[World], str], int]] = [
    (kill_worker, 14),
    (kill_coordinator, 14),
    (freeze_coordinator, 8),
    (freeze_worker, 6),
    (kill_operator, 10),
    (delete_operator, 6),
    (evict, 10),
    (delete_pod, 8),
    (stop_store, 8),
    (stop_api_server, 6),
    (kill_node, 4),
    (partition_node, 4),
    (freeze_node, 4),
]


# Transitions: each begins by an edit, as a user makes it. What comes out is what to wait for.


def nothing(world: World) -> None:
    """The job just runs."""


def upgrade(world: World) -> None:
    """An edit of the query that comes and goes: an added aggregate."""
    world.extra = "" if world.extra else world.dice.choice(["MAX", "MIN"])
    world.apply()


def restart(world: World) -> None:
    """An edit that changes nothing of the query."""
    world.rate += 1
    world.apply()


def rescale(world: World) -> None:
    """Another number of workers."""
    world.workers = world.dice.choice([n for n in (1, 2, 3) if n != world.workers])
    world.apply()


def rescale_and_upgrade(world: World) -> None:
    """Both in one edit."""
    world.rate += 1
    rescale(world)


def two_edits(world: World) -> None:
    """An edit in the middle of another one's upgrade."""
    restart(world)
    time.sleep(world.dice.uniform(0, 3))
    restart(world)


def broken_image(world: World) -> None:
    """An image that does not exist, taken back a little later."""
    world.apply(image=MISSING_IMAGE)
    time.sleep(world.dice.uniform(1, 6))


def upgrade_to_roll_back(world: World) -> None:
    """A query that takes over and fails at its first record, corrected a little later."""
    world.apply(poisoned=True)
    time.sleep(world.dice.uniform(2, 10))


def snapshot(world: World) -> None:
    """A snapshot is asked for."""
    world.snapshots += 1
    world.job.kubectl.apply(load.snapshot(f"snapshot-{world.snapshots}"))


def suspend(world: World) -> None:
    """Suspended, and resumed a little later."""
    world.apply(suspend=True)
    time.sleep(world.dice.uniform(0, 5))


# (transition, weight, whether the spec as it stands must be applied again after the fault)
TRANSITIONS: list[tuple[Callable[[World], None], int, bool]] = [
    (nothing, 30, False),
    (upgrade, 14, False),
    (restart, 8, False),
    (rescale, 20, False),
    (rescale_and_upgrade, 6, False),
    (two_edits, 6, False),
    (broken_image, 6, True),
    (suspend, 10, True),
    (upgrade_to_roll_back, 10, True),
    (snapshot, 8, False),
]
