"""The faults. Each is a generator that first finds its victim and yields. When it is resumed, the fault happens, and lasts for
a while if it is of that kind. It is over when the generator returns the name of the victim.

A fault that finds no victim, or does not happen, raises `Missed`.
"""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from dev.demo import replicas
from dev.demo.story import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.faults.world import KUBELET, Missed, Process, World, answers
from dev.lib.kubectl import CommandFailed

Fault = Generator[None, None, str]

API_SERVER = 6443
METRICS = 8080
SUCCESSION = 40  # seconds until another replica leads: the Lease lasts 15


def _kill(world: World, coordinator: bool) -> Fault:
    process = world.process(world.target.namespace, world.pod(coordinator))
    yield
    world.kill(process)
    return process.pod


@contextmanager
def _stopped(world: World, processes: list[Process]) -> Iterator[None]:
    """Stops processes, and continues them afterwards, whatever happens."""
    try:
        for process in processes:
            world.stop(process)
        yield
    finally:
        gone = [process.pod for process in processes if not world.go_on(process)]
    if gone:
        raise Missed(f"{', '.join(gone)} did not stand still but ended")


def _freeze(world: World, coordinator: bool) -> Fault:
    process = world.process(world.target.namespace, world.pod(coordinator))
    yield
    with _stopped(world, [process]):
        time.sleep(world.dice.uniform(4, 9))
    return process.pod


def kill_worker(world: World) -> Fault:
    """kill -9 of a process that is not the coordinator's."""
    return (yield from _kill(world, coordinator=False))


def kill_coordinator(world: World) -> Fault:
    """kill -9 of a coordinator's process."""
    return (yield from _kill(world, coordinator=True))


def freeze_coordinator(world: World) -> Fault:
    """SIGSTOP of a coordinator for longer than its workers wait: it wakes up as a zombie."""
    return (yield from _freeze(world, coordinator=True))


def freeze_worker(world: World) -> Fault:
    """SIGSTOP of a worker without the coordinator, like `freeze_coordinator`."""
    return (yield from _freeze(world, coordinator=False))


def evict(world: World) -> Fault:
    """A pod evicted, as a drain does."""
    pod = world.pod(coordinator=world.dice.random() < 0.5)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": world.target.namespace}}
    path = f"/api/v1/namespaces/{world.target.namespace}/pods/{pod}/eviction"
    yield
    try:
        world.target.kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    except CommandFailed as error:
        if not error.not_found:
            raise
        raise Missed(f"{pod} was gone") from error
    return pod


def delete_pod(world: World) -> Fault:
    """A pod deleted by force."""
    pod = world.pod(coordinator=world.dice.random() < 0.5)
    yield
    if not world.target.kubectl.delete_pod_by_force(pod):
        raise Missed(f"{pod} was gone")
    return pod


# ------------------------------------------------------------ the operator


def kill_operators(world: World) -> Fault:
    """kill -9 of every operator process."""
    processes = [world.process(OPERATOR_NAMESPACE, pod) for pod in replicas.ready(world.cluster.kubectl)]
    yield
    for process in processes:
        world.signal(process, "SIGKILL")
    if lives := [process.pod for process in processes if world.state(process)]:
        raise Missed(f"{', '.join(lives)} lives")
    return _named([process.pod for process in processes])


def delete_operators(world: World) -> Fault:
    """Every pod of the operator deleted at once."""
    operator = world.cluster.kubectl.at(OPERATOR_NAMESPACE)
    pods = [pod["metadata"]["name"] for pod in operator.objects("pods", OPERATOR_SELECTOR)]
    yield
    return _named([pod for pod in pods if operator.delete_pod_by_force(pod)])


def kill_leader(world: World) -> Fault:
    """kill -9 of the operator that leads: its next process takes over, or another replica once the Lease has ended."""
    process, life = _leader(world)
    yield
    world.kill(process)
    return f"{process.pod}; {_successor(world, process.pod, life)}"


def freeze_leader(world: World) -> Fault:
    """SIGSTOP of the operator that leads until another one does, and a little longer: it wakes up in the middle of what it did."""
    process, life = _leader(world)
    yield
    with _stopped(world, [process]):
        successor = _successor(world, process.pod, life)
        time.sleep(world.dice.uniform(0, 3))
    return f"{process.pod}; {successor}"


def cut_off_leader(world: World) -> Fault:
    """Cuts the network of the leading operator until another one leads, and a little longer: it runs on and reaches no other process."""
    process, life = _leader(world)
    address = world.cluster.kubectl.at(OPERATOR_NAMESPACE).get("pod", process.pod)["status"]["podIP"]
    hardware = json.loads(world.cluster.inside(process.node, "ip", "-json", "neigh", "show", address))[0]["lladdr"]
    ports = json.loads(world.cluster.inside(process.node, "bridge", "-json", "fdb", "show", "br", "cni0"))
    port = next(port["ifname"] for port in ports if port["mac"] == hardware)
    yield
    world.cluster.inside(process.node, "ip", "link", "set", port, "down")
    try:
        if answers(address, METRICS, tls=False):
            raise Missed(f"{process.pod} answers all the same")
        successor = _successor(world, process.pod, life)
        time.sleep(world.dice.uniform(0, 3))
    finally:
        world.cluster.inside(process.node, "ip", "link", "set", port, "up")
    return f"{process.pod}; {successor}"


def _leader(world: World) -> tuple[Process, str]:
    """Returns the leading replica and which life of it. Without another ready replica there is no successor, so the fault is missed."""
    kubectl = world.cluster.kubectl
    pod, life = replicas.holder(kubectl)
    ready = replicas.ready(kubectl)
    if pod not in ready or len(ready) < 2:
        raise Missed(f"{pod or 'no replica'} leads, and {', '.join(ready) or 'none'} is ready")
    return world.process(OPERATOR_NAMESPACE, pod), life


def _successor(world: World, pod: str, life: str) -> str:
    """Waits until another replica leads, or another life of the same one."""
    began = time.monotonic()
    successor = replicas.wait_successor(world.cluster.kubectl, (pod, life), SUCCESSION)
    return f"{'its next life' if successor == pod else successor} led {time.monotonic() - began:.0f} s later"


# ------------------------------------------------------------ what all stand on


def stop_store(world: World) -> Fault:
    """Stops the S3 server for a while."""
    pods = [pod["metadata"]["name"] for pod in world.cluster.kubectl.at("storage").objects("pods")]
    processes = [world.process("storage", pod) for pod in pods]
    yield
    with _stopped(world, processes):
        time.sleep(world.dice.uniform(3, 8))
    return _named(pods)


def stop_api_server(world: World) -> Fault:
    """The API server is killed and comes back after a while."""
    address = json.loads(world.cluster.kubectl.run("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"]
    host = address.removeprefix("https://").partition(":")[0]
    yield
    world.cluster.apiserver("stop")
    try:
        if answers(host, API_SERVER):
            raise Missed("the API server answers all the same")
        time.sleep(world.dice.uniform(3, 8))
    finally:
        world.cluster.apiserver("start")
    return "kube-apiserver"


def _node_for_a_while(world: World, down: str, up: str, seconds: tuple[float, float]) -> Fault:
    index = world.node()
    address = world.address(index)
    yield
    world.cluster.node(down, index)
    try:
        if answers(address, KUBELET):
            raise Missed(f"n{index} answers all the same")
        time.sleep(world.dice.uniform(*seconds))
    finally:
        world.cluster.node(up, index)
    return f"n{index}"


def kill_node(world: World) -> Fault:
    """Power loss of a node; it boots again later."""
    return (yield from _node_for_a_while(world, "kill", "start", (5, 30)))


def partition_node(world: World) -> Fault:
    """A node's cable is pulled: what runs there runs on as zombies."""
    return (yield from _node_for_a_while(world, "partition", "heal", (5, 40)))


def freeze_node(world: World) -> Fault:
    """Freezes a whole node for a while."""
    return (yield from _node_for_a_while(world, "freeze", "thaw", (5, 40)))


def _named(pods: list[str]) -> str:
    hit = ", ".join(pods)
    if not hit:
        raise Missed("there is none")
    return hit


# (fault, weight): those of whole nodes take longest.
FAULTS: list[tuple[Callable[[World], Fault], int]] = [
    (kill_worker, 12),
    (kill_coordinator, 12),
    (freeze_coordinator, 8),
    (freeze_worker, 6),
    (kill_operators, 6),
    (delete_operators, 4),
    (kill_leader, 8),
    (freeze_leader, 8),
    (cut_off_leader, 6),
    (evict, 8),
    (delete_pod, 8),
    (stop_store, 8),
    (stop_api_server, 6),
    (kill_node, 4),
    (partition_node, 4),
    (freeze_node, 4),
]
