"""What every story stands on: one cluster for the run, a namespace and a report for each story."""

import secrets
import sys
import unittest

from dev import images
from dev.lib import diagnose, narrate
from dev.lib.cluster import Cluster, choose
from dev.lib.kubectl import Kubectl, Object
from dev.s3 import install

NODES = 3


def prepare() -> Cluster:
    """Images built, cluster up, images in every node, S3 server ready."""
    cluster = choose()
    narrate.heading("Preparing the cluster")
    with narrate.Step("images", usually="a minute after a change") as step:
        built = images.build(list(images.REFERENCES), on_progress=step.update)
    with narrate.Step(f"{cluster.name} cluster, {NODES} nodes", usually="8 s"):
        cluster.up(NODES)
        cluster.load(*(image.archive for image in built))
    with narrate.Step("S3 server", usually="5 s") as step:
        install.install(cluster, step.update)
    return cluster


class StoryCase(unittest.TestCase):
    """A story: `self.cluster`, `self.kubectl` in a namespace of its own, removed afterwards."""

    cluster: Cluster
    kubectl: Kubectl

    def setUp(self) -> None:
        self.cluster = choose()
        self.namespace = f"story-{secrets.token_hex(4)}"
        self.kubectl = self.cluster.kubectl.at(self.namespace)
        self.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self.addCleanup(self.kubectl.delete, "namespace", self.namespace)
        self.addCleanup(self._report_if_failed)  # cleanups run backwards: while all is still there

    def require_faults(self) -> None:
        """Skip where nodes must be left alone."""
        if not self.cluster.faults:
            self.skipTest(f"the {self.cluster.name} cluster's nodes are left alone")

    def heal(self, index: int) -> None:
        """Boot node `index` and plug it in, whatever happened to it; fine when it is well."""
        name = self.cluster.node_names[index]
        self.cluster.node("start", index)
        self.cluster.node("heal", index)
        self.kubectl.wait_condition("node", name, "Ready", seconds=60)

    def pod_on(self, node: str) -> Object | None:
        """The newest live pod of this story on that node."""
        pods = [p for p in self.kubectl.objects("pods") if p["spec"].get("nodeName") == node]
        return next((p for p in pods if "deletionTimestamp" not in p["metadata"]), None)

    def _report_if_failed(self) -> None:
        result = getattr(self._outcome, "result", None)  # type: ignore[attr-defined]
        troubles = [*getattr(result, "failures", []), *getattr(result, "errors", [])]
        if any(case is self for case, _ in troubles) or not getattr(self._outcome, "success", True):  # type: ignore[attr-defined]
            print(f"\n=== the cluster when {self.id()} failed\n{diagnose.report(self.cluster.kubectl)}", file=sys.stderr)
