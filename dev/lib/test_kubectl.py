import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from dev.lib import cluster, kubectl
from dev.lib.kubectl import CommandFailed, Kubectl


class KubectlTest(unittest.TestCase):
    """Against a script in kubectl's place."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.fake = Path(scratch.name) / "kubectl"
        self.kubectl = Kubectl(Path("/kubeconfig"), str(self.fake), namespace="here")

    def script(self, body: str) -> None:
        self.fake.write_text(f"#!/bin/sh\n{body}\n")
        self.fake.chmod(self.fake.stat().st_mode | stat.S_IXUSR)

    def test_every_command_names_its_cluster_and_namespace(self) -> None:
        self.script('echo "$@"')
        self.assertEqual(self.kubectl.run("get", "pods").split(), "--kubeconfig /kubeconfig --namespace here get pods".split())

    def test_manifests_go_in_as_one_stream(self) -> None:
        self.script("cat")
        self.assertEqual(self.kubectl.apply("a: 1\n", {"b": 2}), 'a: 1\n\n---\n{"b": 2}')

    def test_an_error_carries_the_command_and_what_it_said(self) -> None:
        self.script('echo "Error from server (NotFound): no such pod" >&2; exit 1')
        with self.assertRaises(CommandFailed) as caught:
            self.kubectl.get("pod", "x")
        self.assertTrue(caught.exception.not_found)
        self.assertIn("get pod x", str(caught.exception))

    def test_a_wait_that_fails_shows_every_condition(self) -> None:
        self.script("""echo '{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Bad","message":"no disk"}]}}'""")
        with self.assertRaisesRegex(Exception, "Ready=False Bad: no disk"):
            self.kubectl.wait_condition("node", "n0", "Ready", seconds=0)

    def test_a_port_forward_that_fails_says_why(self) -> None:
        self.script("echo 'error: services \"s3\" not found'; exit 1")
        with self.assertRaisesRegex(CommandFailed, "not found"), self.kubectl.port_forward("svc/s3", 8333):
            self.fail("there is no port")

    def test_a_pod_is_summed_up_with_the_reason_it_waits_for(self) -> None:
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
        status = {"phase": "Pending", "containerStatuses": [{"ready": False, "restartCount": 2, "state": waiting}]}
        pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{}]}, "status": status}
        self.assertEqual(kubectl.pod_summary(pod), "p on n1: Pending, 0/1 ready, 2 restarts, ImagePullBackOff (not found)")


class ChooseTest(unittest.TestCase):
    def choose(self, docker: bool = False, kind: bool = False, **environment: str) -> str:
        found = mock.patch("shutil.which", lambda name, **_: name if kind and name == "kind" else None)
        runs = mock.patch.object(cluster, "_docker_runs", lambda: docker)
        with mock.patch.dict(os.environ, environment, clear=True), found, runs:
            return cluster.choose().name

    def test_the_callers_cluster_comes_first_then_kind_then_the_local_one(self) -> None:
        self.assertEqual(self.choose(), "local")
        self.assertEqual(self.choose(docker=True), "local")
        self.assertEqual(self.choose(docker=True, kind=True), "kind")
        self.assertEqual(self.choose(docker=True, kind=True, KUBECONFIG="/their/config"), "external")
        self.assertEqual(self.choose(docker=True, kind=True, STREAMKEEPER_CLUSTER="local"), "local")

    def test_the_local_clusters_own_kubeconfig_means_the_local_cluster(self) -> None:
        self.assertEqual(self.choose(KUBECONFIG="/s/kubeconfig", CLUSTER_STATE="/s", docker=True, kind=True), "local")

    def test_a_cluster_that_is_not_ours_is_never_broken(self) -> None:
        with self.assertRaisesRegex(cluster.Unsupported, "left alone"):
            cluster.External().node("kill", 0)

    def test_an_unknown_choice_is_refused_with_the_choices(self) -> None:
        with self.assertRaisesRegex(cluster.Unsupported, "local, kind, external"):
            self.choose(STREAMKEEPER_CLUSTER="minikube")
