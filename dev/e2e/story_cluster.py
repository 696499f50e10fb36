"""The ground under all other stories: does the cluster suffer faults as a real one does?"""

from dev import images
from dev.e2e.base import StoryCase
from dev.lib import wait
from dev.lib.kubectl import Object, conditions, pod_summary
from dev.s3 import check, install


def sleeper(tolerate: int) -> Object:
    """A Deployment of one pod that lives anywhere but on the S3 server's node."""
    labels = {"app": "sleeper"}
    lost = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerate}
    container = {
        "name": "main",
        "image": images.SEAWEEDFS,
        "imagePullPolicy": "IfNotPresent",
        "args": ["master", "-ip=127.0.0.1", "-mdir=/tmp", "-telemetry=false"],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    elsewhere = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n0"]}]}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [elsewhere]}}},
        "tolerations": [{"key": f"node.kubernetes.io/{why}", **lost} for why in ("unreachable", "not-ready")],
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sleeper"}, "spec": spec}


class ClusterStory(StoryCase):
    def test_the_s3_server_keeps_every_promise_that_checkpoints_stand_on(self) -> None:
        with install.connect(self.cluster) as server:
            broken = {promise: seen for promise, seen in check.promises(server) if seen is not None}
        self.assertEqual(broken, {})

    def test_a_killed_node_is_noticed_and_its_pod_starts_on_another(self) -> None:
        self.lose_a_node("kill")

    def test_a_partitioned_node_is_noticed_and_its_pod_starts_on_another(self) -> None:
        self.lose_a_node("partition")

    def lose_a_node(self, verb: str) -> None:
        self.require_faults()
        self.kubectl.apply(sleeper(tolerate=1))
        self.kubectl.wait_rollout("deployment", "sleeper", 60)
        lost = self.kubectl.objects("pods")[0]["spec"]["nodeName"]
        index = self.cluster.node_names.index(lost)
        self.addCleanup(self.heal, index)

        self.cluster.node(verb, index)
        self.kubectl.wait_condition("node", lost, "Ready", "Unknown", seconds=60)

        def moved() -> str | wait.Pending:
            pods = self.kubectl.objects("pods")
            new = [p for p in pods if p["spec"].get("nodeName") not in (None, lost)]
            if any(conditions(p).get("Ready", {}).get("status") == "True" for p in new):
                return "moved"
            return wait.Pending("; ".join(pod_summary(p) for p in pods))

        wait.until("the pod to run on another node", moved, 60)
        self.heal(index)
        wait.until("the old pod to be gone", lambda: self.pod_on(lost) is None or wait.Pending("still there"), 60)
