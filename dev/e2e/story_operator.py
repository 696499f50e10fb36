"""What the operator promises as a service: two replicas, certificates, the chart's own test."""

import http.client
import ssl
import subprocess
import tempfile
import time

from dev.demo import replicas, run
from dev.demo.story import OPERATOR_NAMESPACE, kill_process
from dev.e2e.story_job import SLOW, JobStory, expected, many, manifest, snapshot
from dev.lib import wait


class Replicas(JobStory):
    def leader(self) -> str:
        """The replica that leads, once another one is ready to."""

        def look() -> str | wait.Pending:
            leader, _ = replicas.holder(self.kubectl)
            ready = replicas.ready(self.kubectl)
            return leader if leader in ready and len(ready) == 2 else wait.Pending(f"{leader or 'no replica'} leads, {ready} are ready")

        return wait.until("one replica to lead and one to stand by", look, SLOW)

    def begin_upgrade(self) -> tuple[dict[str, list[str]], str]:
        """The input, and the replica that leads while another one stands by, in the middle of an upgrade."""
        objects = many(4, 2000)
        self.upload(objects)
        self.kubectl.apply(manifest(self.counting(rate=25)))
        self.job.wait_settled(SLOW)
        leader = self.leader()
        self.kubectl.apply(manifest(self.counting(rate=100_000)))
        self.job.wait("the upgrade to begin", lambda job: None if job["status"].get("transition") else "no transition", SLOW)
        return objects, leader

    def expect_undisturbed(self, objects: dict[str, list[str]]) -> None:
        """All was counted, and nothing started again."""
        self.expect_completed()
        self.assertEqual(self.counts(), expected(objects))
        self.assertEqual(self.job.object()["status"].get("restarts", {}).get("count", 0), 0, "no restart followed from it")

    def test_another_replica_goes_on_in_the_middle_of_an_upgrade_when_the_leader_is_deleted(self) -> None:
        objects, leader = self.begin_upgrade()
        before, began = replicas.holder(self.kubectl), time.monotonic()
        self.kubectl.at(OPERATOR_NAMESPACE).run("delete", "pod", leader, "--wait=false")
        # The replica that stood by, or the one that replaces the deleted one: the first that looks once the Lease is released.
        successor = replicas.wait_successor(self.kubectl, before, SLOW)
        self.assertNotEqual(successor, leader, "its pod is deleted")
        print(f"{successor} led {time.monotonic() - began:.1f} s after {leader} was deleted", flush=True)
        self.expect_undisturbed(objects)

    def test_a_leader_whose_process_is_killed_goes_on_in_its_pod_in_the_middle_of_an_upgrade(self) -> None:
        self.require_faults()
        objects, leader = self.begin_upgrade()
        before, began = replicas.holder(self.kubectl), time.monotonic()
        kill_process(self.cluster, self.kubectl.at(OPERATOR_NAMESPACE), leader)
        successor = replicas.wait_successor(self.kubectl, before, SLOW)
        print(f"another process led {time.monotonic() - began:.1f} s after the leader's was killed", flush=True)
        self.assertEqual(successor, leader, "it need not wait until the Lease has run out, as the other replica would")
        self.expect_undisturbed(objects)


class Certificates(JobStory):
    def setUp(self) -> None:
        super().setUp()
        run.install_operator(self.cluster)

    def test_a_job_with_certificates_goes_through_its_life_and_answers_nobody_else(self) -> None:
        objects = many(4, 2000)
        self.upload(objects)
        self.kubectl.apply(manifest(self.counting(rate=20), workers={"replicas": 2}))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        status, told = self.ask(None)
        self.assertEqual(status, 400)
        self.assertIn("this port speaks TLS 1.3 and asks for a certificate of the job", told)
        self.assertEqual(self.refused_by_name(without_certificate()), "TLSV13_ALERT_CERTIFICATE_REQUIRED")
        self.assertEqual(self.refused_by_name(self.with_foreign_certificate()), "SSLV3_ALERT_CERTIFICATE_UNKNOWN")
        self.assertEqual(self.job.report()["revision"], 1, "who has the keys is answered")
        self.kubectl.apply(snapshot("monday"))
        self.kubectl.wait_condition("streamsnapshot", "monday", "Ready", seconds=SLOW)
        self.kubectl.run("scale", "sj/job", "--replicas=1")
        self.job.wait_settled(SLOW)
        self.kubectl.apply(manifest(self.counting(rate=100_000)))
        self.expect_completed()
        self.assertEqual(self.counts(), expected(objects))


    def ask(self, secure: ssl.SSLContext | None) -> tuple[int, str]:
        """Asks the coordinator for its report, as any client might that reaches its port."""
        with self.kubectl.port_forward(f"pod/{self.job.pod()}", 8081) as address:
            connection = http.client.HTTPSConnection(address, context=secure, timeout=SLOW) if secure else http.client.HTTPConnection(address, timeout=SLOW)
            try:
                connection.request("GET", "/v1/report")
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

    def refused_by_name(self, secure: ssl.SSLContext) -> str:
        """What the coordinator says when it ends the handshake."""
        with self.assertRaises(ssl.SSLError) as refused:
            self.ask(secure)
        return refused.exception.reason

    def with_foreign_certificate(self) -> ssl.SSLContext:
        """A caller with an unknown certificate."""
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
            made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=operator"]
            subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
            secure = without_certificate()
            secure.load_cert_chain(certificate, key)
        return secure


def without_certificate() -> ssl.SSLContext:
    """A caller that trusts any server, and has no certificate."""
    secure = ssl.create_default_context()
    secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    return secure


class Chart(JobStory):
    def test_helm_test_takes_a_job_through_a_snapshot_and_back(self) -> None:
        told = self.kubectl.at(OPERATOR_NAMESPACE).helm("test", run.RELEASE, "--logs", "--timeout", "180s")
        for step in ("it runs and takes checkpoints", "suspended at checkpoint", "resumed from checkpoint", "snapshot of checkpoint", "went back to checkpoint", "everything of it is gone"):
            self.assertIn(step, told)
