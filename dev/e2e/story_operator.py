"""What the operator promises as a service: two replicas, certificates, the chart's own test."""

import time

from dev.demo import run
from dev.demo.story import OPERATOR_NAMESPACE
from dev.e2e.story_job import SLOW, JobStory, expected, many, manifest, snapshot
from dev.lib import wait
from dev.lib.kubectl import CommandFailed

LEASE = "streamkeeper"


class Replicas(JobStory):
    def holder(self) -> str:
        """The pod that leads."""
        lease = self.kubectl.at(OPERATOR_NAMESPACE).get("lease", LEASE)
        # The pod and, behind it, this life of its process.
        return (lease["spec"].get("holderIdentity") or "").rpartition("_")[0]

    def test_the_other_replica_goes_on_in_the_middle_of_an_upgrade_when_the_leader_is_deleted(self) -> None:
        objects = many(4, 2000)
        self.upload(objects)
        self.kubectl.apply(manifest(self.counting(rate=200)))
        self.job.wait_settled(SLOW)
        first = self.holder()
        self.kubectl.apply(manifest(self.counting(rate=100_000)))
        self.job.wait("the upgrade to begin", lambda job: None if job["status"].get("transition") else "no transition", SLOW)
        began = time.monotonic()
        self.kubectl.at(OPERATOR_NAMESPACE).run("delete", "pod", first, "--wait=false")
        wait.until("another leader", lambda: wait.Pending("the same, or none") if self.holder() in ("", first) else True, SLOW)
        print(f"another replica led {time.monotonic() - began:.1f} s after the leader's deletion", flush=True)
        self.expect_completed()
        self.assertEqual(self.counts(), expected(objects))
        self.assertEqual(self.job.object()["status"].get("restarts", {}).get("count", 0), 0, "no restart followed from it")


class Certificates(JobStory):
    def setUp(self) -> None:
        super().setUp()
        run.install_operator(self.cluster, "tls.enabled=true")

    def test_a_job_with_certificates_goes_through_its_life_and_answers_nobody_else(self) -> None:
        objects = many(4, 2000)
        self.upload(objects)
        self.kubectl.apply(manifest(self.counting(rate=200), workers={"replicas": 2}))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        pod = self.job.pod()
        for scheme in ("", "https:"):
            with self.assertRaises(CommandFailed) as refused:
                self.kubectl.run("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{scheme}{pod}:8081/proxy/v1/report", timeout=10)
            self.assertNotIn('"revision"', refused.exception.stderr)
        self.assertEqual(self.job.report()["revision"], 1, "who has the keys is answered")
        self.kubectl.apply(snapshot("monday"))
        self.kubectl.wait_condition("streamsnapshot", "monday", "Ready", seconds=SLOW)
        self.kubectl.run("scale", "sj/job", "--replicas=1")
        self.job.wait_settled(SLOW)
        self.kubectl.apply(manifest(self.counting(rate=100_000)))
        self.expect_completed()
        self.assertEqual(self.counts(), expected(objects))


class Chart(JobStory):
    def test_helm_test_takes_a_job_through_a_snapshot_and_back(self) -> None:
        told = self.kubectl.at(OPERATOR_NAMESPACE).helm("test", run.RELEASE, "--logs", "--timeout", "180s")
        for step in ("it runs and takes checkpoints", "suspended at checkpoint", "resumed from checkpoint", "snapshot of checkpoint", "went back to checkpoint", "everything of it is gone"):
            self.assertIn(step, told)
