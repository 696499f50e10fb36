"""Which Kubernetes to use, how images get into it, and which faults it can suffer.

`choose()` decides once: STREAMKEEPER_CLUSTER = local | kind | external if set; else KUBECONFIG
means `external`; else `kind` where a Docker engine and kind are there; else `local`, the cluster
of `dev/cluster/`. Only `local` is exercised by this repository's own CI.

    python3 -m dev.lib.cluster up [N] | down | status | name | kubeconfig
    python3 -m dev.lib.cluster kubectl | helm ARGUMENT...
    python3 -m dev.lib.cluster node-kill | node-start | node-partition | node-heal I
"""

import os
import shlex
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.lib import narrate
from dev.lib.kubectl import CommandFailed, Kubectl, command
from dev.lib.paths import CACHE, ROOT

SCRIPT = ROOT / "dev" / "cluster" / "cluster"
FAULTS = ("kill", "start", "partition", "heal")


class Unsupported(Exception):
    """This kind of cluster cannot do that; the message says what can."""


class Cluster(ABC):
    """One Kubernetes cluster."""

    name: str
    """`local`, `kind` or `external`."""
    faults = True
    """Whether `node` works."""

    @property
    @abstractmethod
    def kubectl(self) -> Kubectl:
        """kubectl and Helm bound to this cluster."""

    @abstractmethod
    def up(self, nodes: int) -> None:
        """Start it, or add nodes to the running one, and wait until all are Ready."""

    @abstractmethod
    def down(self) -> None:
        """Stop it and remove every trace; fine when it does not run."""

    @abstractmethod
    def running(self) -> bool:
        """Whether it runs now."""

    @abstractmethod
    def load(self, *archives: Path) -> None:
        """Put image archives into every node that is up."""

    @abstractmethod
    def node(self, verb: str, index: int) -> None:
        """A fault of node `index`: `kill` (power loss), `start`, `partition`, `heal`."""

    def ctr(self, index: int, *arguments: str) -> str:
        """What containerd of node `index` says; raises `CommandFailed`. Only where nodes are processes of this host."""
        raise Unsupported(f"containerd of node {index} cannot be asked")

    @property
    @abstractmethod
    def node_names(self) -> list[str]:
        """Names of the nodes that `node` takes by index."""

    @contextmanager
    def reach(self, namespace: str, service: str, port: int) -> Iterator[str]:
        """`host:port` from which this host reaches a Service."""
        with self.kubectl.at(namespace).port_forward(f"svc/{service}", port) as address:
            yield address


class Local(Cluster):
    """The cluster of `dev/cluster/`: real components in namespaces of this machine."""

    name = "local"

    @property
    def kubectl(self) -> Kubectl:
        binaries = built()
        return Kubectl(local_kubeconfig(), str(binaries / "kubectl"), str(binaries / "helm"))

    def up(self, nodes: int) -> None:
        _call(str(SCRIPT), "up", "--nodes", str(nodes))

    def down(self) -> None:
        _call(str(SCRIPT), "down")

    def running(self) -> bool:
        return local_kubeconfig().exists()

    def load(self, *archives: Path) -> None:
        _call(str(SCRIPT), "load", *map(str, archives))

    def node(self, verb: str, index: int) -> None:
        _call(str(SCRIPT), "node", verb, str(index))

    def ctr(self, index: int, *arguments: str) -> str:
        return _call(str(SCRIPT), "ctr", str(index), *arguments)

    def inside(self, index: int, *arguments: str) -> str:
        """What a command says that is run inside node `index`; raises `CommandFailed`, also when the node is off."""
        return _call(str(SCRIPT), "inside", f"n{index}", *arguments)

    def apiserver(self, verb: str) -> None:
        """`stop` (it is killed) or `start`."""
        _call(str(SCRIPT), "apiserver", verb)

    @property
    def node_names(self) -> list[str]:
        return sorted(o["metadata"]["name"] for o in self.kubectl.objects("nodes"))

    @contextmanager
    def reach(self, namespace: str, service: str, port: int) -> Iterator[str]:
        # The host has routes to Services: nothing to start, and nothing dies with a pod.
        spec = self.kubectl.at(namespace).get("service", service)["spec"]
        yield f"{spec['clusterIP']}:{port}"


class Kind(Cluster):
    """kind on a Docker engine; written from its documentation, not exercised by CI."""

    name = "kind"
    kubeconfig = CACHE / "kind.kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.kubeconfig, _tool("kubectl"), _tool("helm"))

    def up(self, nodes: int) -> None:
        if self.running():
            return
        # Node I must survive the loss of any worker, so the control plane comes on top.
        roles = "".join(f"- role: {role}\n" for role in ["control-plane", *["worker"] * nodes])
        config = f"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n{roles}"
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        create = ["kind", "create", "cluster", "--name=streamkeeper", "--config=-", "--wait=120s"]
        command([*create, f"--kubeconfig={self.kubeconfig}"], config)

    def down(self) -> None:
        _call("kind", "delete", "cluster", "--name=streamkeeper", f"--kubeconfig={self.kubeconfig}")

    def running(self) -> bool:
        return "streamkeeper" in _call("kind", "get", "clusters").split()

    def load(self, *archives: Path) -> None:
        for archive in archives:
            _call("kind", "load", "image-archive", str(archive), "--name=streamkeeper")

    def node(self, verb: str, index: int) -> None:
        name = self.node_names[index]
        try:
            match verb:
                case "kill" | "start":
                    _call("docker", verb, name)
                case "partition":
                    _call("docker", "network", "disconnect", "kind", name)
                case "heal":
                    _call("docker", "network", "connect", "kind", name)
        except CommandFailed as error:
            if verb != "heal" or "already exists" not in error.stderr:
                raise

    @property
    def node_names(self) -> list[str]:
        names = _call("kind", "get", "nodes", "--name=streamkeeper").split()
        workers = [n for n in names if "worker" in n]
        return sorted(workers, key=lambda n: (len(n), n))  # worker, worker2, worker3


class External(Cluster):
    """The caller's cluster, named by KUBECONFIG. It is never started, stopped or broken."""

    name = "external"
    faults = False

    @property
    def kubectl(self) -> Kubectl:
        path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        return Kubectl(Path(path), _tool("kubectl"), _tool("helm"))

    def up(self, nodes: int) -> None:
        self.kubectl.run("get", "--raw", "/readyz")

    def down(self) -> None:
        print(f"{self.kubectl.kubeconfig} is your cluster: left running")

    def running(self) -> bool:
        return True

    def load(self, *archives: Path) -> None:
        loader = os.environ.get("STREAMKEEPER_LOAD")
        if not loader:
            raise Unsupported(
                "images must get into your cluster: set STREAMKEEPER_LOAD to a command that takes an image archive,"
                " such as 'minikube image load' or 'k3s ctr images import'"
            )
        for archive in archives:
            _call(*shlex.split(loader), str(archive))

    def node(self, verb: str, index: int) -> None:
        raise Unsupported(f"{verb} node {index}: nodes of a cluster given by KUBECONFIG are left alone")

    @property
    def node_names(self) -> list[str]:
        return []


def choose() -> Cluster:
    """The cluster to use, decided from the environment."""
    kinds: dict[str, type[Cluster]] = {"local": Local, "kind": Kind, "external": External}
    asked = os.environ.get("STREAMKEEPER_CLUSTER")
    if asked:
        if asked not in kinds:
            raise Unsupported(f"STREAMKEEPER_CLUSTER={asked}: use one of {', '.join(kinds)}")
        return kinds[asked]()
    given = os.environ.get("KUBECONFIG")
    if given and Path(given) != local_kubeconfig():
        return External()
    return Kind() if not given and _docker_runs() and shutil.which("kind") else Local()


def local_kubeconfig() -> Path:
    """Where the local cluster's administrator finds its kubeconfig, while it runs."""
    return Path(os.environ.get("CLUSTER_STATE", "/var/lib/streamkeeper-cluster")) / "kubeconfig"


def built() -> Path:
    """The folder with the local cluster's binaries (kubectl and helm among them)."""
    return Path(_call(str(SCRIPT), "bin").strip())


def _tool(name: str) -> str:
    return shutil.which(name) or str(built() / name)


def _docker_runs() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0


def _call(*arguments: str) -> str:
    return command(list(arguments))


def _status(cluster: Cluster) -> int:
    if not cluster.running():
        print("no cluster is running; start one with: make cluster-up")
        return 1
    if isinstance(cluster, Local):
        return subprocess.run([SCRIPT, "status"], check=False).returncode
    print(cluster.kubectl.run("get", "nodes,pods", "-A", "-o", "wide"))
    return 0


def main(arguments: list[str]) -> int:
    """The command line at the top of this file."""
    cluster = choose()
    match arguments:
        case ["up", *nodes] if len(nodes) < 2:
            count = int(nodes[0]) if nodes else 3
            with narrate.Step(f"{cluster.name} cluster, {count} nodes", usually="8 s"):
                cluster.up(count)
            print(f"    export KUBECONFIG={cluster.kubectl.kubeconfig}")
        case ["down"]:
            cluster.down()
        case ["status"]:
            return _status(cluster)
        case ["name"]:
            print(cluster.name)
        case ["kubeconfig"]:
            print(cluster.kubectl.kubeconfig)
        case ["kubectl" | "helm" as tool, *rest]:
            kubectl = cluster.kubectl
            program = kubectl.binary if tool == "kubectl" else kubectl.helm_binary
            return subprocess.run([program, "--kubeconfig", str(kubectl.kubeconfig), *rest], check=False).returncode
        case [fault, index] if fault.removeprefix("node-") in FAULTS:
            cluster.node(fault.removeprefix("node-"), int(index))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Unsupported, CommandFailed) as error:
        sys.exit(f"cluster: {error}")
