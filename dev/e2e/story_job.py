"""What the operator promises about single jobs: bad input, bad storage, bad records, no operator."""

import json
import subprocess
import time

from dev.demo import run, watch
from dev.demo.story import OPERATOR_NAMESPACE, kill_process
from dev.e2e.base import StoryCase
from dev.lib import ledger, wait
from dev.lib.kubectl import CommandFailed, Object
from dev.s3 import install as s3

# The input of a story that acts while its job reads lasts for minutes, at the rate it begins with; it is read at once in the end.
SLOW = 120
OUTAGE = 120  # seconds without an operator


def manifest(sql: str, **spec: object) -> Object:
    """A StreamJob named `job`."""
    spec.setdefault("checkpoints", {"interval": "1s"})
    return {"apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamJob", "metadata": {"name": "job"}, "spec": {"sql": {"text": sql}, **spec}}


class JobStory(StoryCase):
    """A namespace with credentials, an operator, and a folder of the bucket for this story."""

    def setUp(self) -> None:
        super().setUp()
        run.install_operator(self.cluster)
        self.access, self.secret = s3.keys(self.cluster.kubectl)
        self.kubectl.apply(s3.credentials(self.namespace, s3.SECRET, self.access, self.secret))
        self.addCleanup(self._delete_jobs)  # while the operator is there to let them go
        self.folder = f"e2e/{self.namespace}"
        self.job = watch.Job(self.cluster, "job", self.namespace)

    def _delete_jobs(self) -> None:
        self.kubectl.run("delete", "streamjobs", "--all", "--timeout=120s", timeout=150)

    def counting(self, options: str = "", rate: int = 50) -> str:
        """Counts rows per name, from and to this story's folder."""
        return f"""SET 'streamkeeper.source.rows-per-second' = '{rate}';
CREATE TABLE names (name STRING, n INT) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{self.folder}/in/', 'format' = 'json'{options});
CREATE TABLE counts (name STRING, rows_seen BIGINT, total INT) WITH (
  'connector' = 'filesystem', 'path' = 's3://{s3.BUCKET}/{self.folder}/out/', 'format' = 'debezium-json');
INSERT INTO counts SELECT name, COUNT(*) AS rows_seen, SUM(n) AS total FROM names GROUP BY name;
"""

    def upload(self, objects: dict[str, list[str]]) -> None:
        """Puts objects of lines into the input folder."""
        with s3.connect(self.cluster) as server:
            for name, lines in objects.items():
                server.client.put(s3.BUCKET, f"{self.folder}/in/{name}", ("\n".join(lines) + "\n").encode())

    def counts(self) -> dict[str, tuple[int, int]]:
        """Returns the output changelog, applied in commit order. A change that contradicts what is there fails the story."""
        tables = ledger.Tables()
        columns = "name TEXT, rows_seen INTEGER, total INTEGER"
        self.assertEqual(tables.apply("counts", columns, self.changes("out"), key="name"), [])
        return {name: (rows_seen, total) for name, rows_seen, total in tables.rows("SELECT * FROM counts")}

    def changes(self, folder: str) -> list[bytes]:
        """Returns the lines of a changelog in commit order."""
        with s3.connect(self.cluster) as server:
            keys = ledger.parts(server.client, s3.BUCKET, f"{self.folder}/{folder}/")
            return list(ledger.lines(server.client, s3.BUCKET, keys))

    def expect_stalled(self, reason: str, *parts: str) -> str:
        """Waits for Stalled with a reason; its message must contain all `parts`."""

        def probe(job: Object) -> str | None:
            stalled = watch.condition(job, "Stalled")
            if stalled.get("status") == "True" and stalled.get("reason") == reason:
                return None
            return json.dumps(job.get("status", {}).get("conditions", "no status"))

        message = watch.condition(self.job.wait(f"Stalled/{reason}", probe, SLOW), "Stalled")["message"]
        for part in parts:
            self.assertIn(part, message)
        return message

    def expect_completed(self) -> None:
        """Waits until all input was read."""

        def probe(job: Object) -> str | None:
            phase = job.get("status", {}).get("phase")
            return None if phase == "Completed" else f"{phase}: {json.dumps(job.get('status', {}).get('conditions', []))}"

        self.job.wait("the job to complete", probe, SLOW)

    def refused(self, job: Object) -> str:
        """Applies what must be refused. Returns what kubectl prints."""
        with self.assertRaises(CommandFailed) as failed:
            self.kubectl.run("apply", "--validate=strict", "-f", "-", stdin=json.dumps(job))
        return failed.exception.stderr


class BadInput(JobStory):
    def test_bad_manifests_are_refused_with_a_sentence_that_names_the_field(self) -> None:
        sql = self.counting()
        unknown = manifest(sql)
        unknown["spec"]["paralelism"] = 2
        self.assertIn("paralelism", self.refused(unknown))
        self.assertIn("spec.checkpoints.interval", self.refused(manifest(sql, checkpoints={"interval": "10 seconds"})))
        self.assertIn("maxParallelism must be at least the parallelism", self.refused(manifest(sql, maxParallelism=2, workers={"replicas": 3})))
        both = manifest(sql)
        both["spec"]["sql"]["configMapKeyRef"] = {"name": "a", "key": "b"}
        self.assertIn("exactly one of sql.text and sql.configMapKeyRef", self.refused(both))

    def test_sql_that_does_not_compile_is_named_by_line_and_column_and_the_running_revision_is_untouched(self) -> None:
        self.upload({"a.json": ['{"name":"x","n":1}'] * 12_000})
        self.kubectl.apply(manifest(self.counting()))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        before = self.job.report()
        self.kubectl.apply(manifest(self.counting().replace("SUM(n)", "SUMM(n)")))
        self.expect_stalled("InvalidSQL", "6:", "SUMM")
        after = self.job.report()
        self.assertEqual((after["revision"], after["attempt"], after["restarts"]), (before["revision"], before["attempt"], before["restarts"]))
        self.assertEqual(after["pauses"], before["pauses"])
        self.kubectl.apply(manifest(self.counting()))
        self.job.wait_settled(SLOW)

    def test_a_query_that_does_not_fit_the_state_is_refused_and_the_running_revision_is_untouched(self) -> None:
        self.upload({"a.json": ['{"name":"x","n":1}'] * 12_000})
        self.kubectl.apply(manifest(self.counting()))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        before = self.job.report()
        other_key = self.counting().replace("SELECT name,", "SELECT UPPER(name) AS name,").replace("GROUP BY name", "GROUP BY UPPER(name)")
        self.kubectl.apply(manifest(other_key))
        self.expect_stalled("StateIncompatible", "would be lost", "a StreamJob of its own")
        after = self.job.report()
        self.assertEqual((after["revision"], after["attempt"], after["restarts"]), (before["revision"], before["attempt"], before["restarts"]))
        self.assertEqual(after["pauses"], before["pauses"])

    def test_a_record_that_cannot_be_decoded_is_named_by_object_and_line_or_skipped_if_the_table_says_so(self) -> None:
        self.upload({"a.json": ['{"name":"x","n":1}', '{"name":"x","n":"two"}', '{"name":"x","n":3}']})
        self.kubectl.apply(manifest(self.counting(rate=1000)))

        def probe(job: Object) -> str | None:
            message = (job.get("status", {}).get("lastFailure") or {}).get("message", "")
            return None if "a.json" in message and "line 2" in message else message or "no failure yet"

        self.job.wait("the failure to name a.json line 2", probe, SLOW)
        self.expect_stalled("BadRecord", "a.json", "line 2")
        self.kubectl.apply(manifest(self.counting(",\n  'json.ignore-parse-errors' = 'true'", rate=1000)))
        self.expect_completed()
        rows, _ = self.counts()["x"]
        # Flink's rule: with ignore-parse-errors a bad field becomes NULL; the row stays.
        self.assertEqual(rows, 3)


class Storage(JobStory):
    def test_wrong_credentials_are_named_with_bucket_and_action_and_heal_once_pods_are_new(self) -> None:
        self.upload({"a.json": ['{"name":"x","n":1}'] * 10})
        self.kubectl.apply(s3.credentials(self.namespace, s3.SECRET, self.access, "wrong" * 8))
        self.kubectl.apply(manifest(self.counting()))
        self.expect_stalled("StorageAccessDenied", s3.BUCKET, "Object")
        self.kubectl.apply(s3.credentials(self.namespace, s3.SECRET, self.access, self.secret))
        # Secrets become environment at start: new containers see the right one.
        self.kubectl.run("delete", "pods", "-l", "streamkeeper.dev/job=job", "--wait=false")
        self.expect_completed()
        self.assertEqual(self.counts(), {"x": (10, 10)})

    def test_a_missing_bucket_is_named_and_heals_by_itself(self) -> None:
        bucket = f"late-{self.namespace}"
        self.upload({"a.json": ['{"name":"x","n":1}'] * 10})
        self.kubectl.apply(manifest(self.counting(), storage={"s3": {"uri": f"s3://{bucket}/state"}}))
        self.expect_stalled("StorageAccessDenied", bucket)
        with s3.connect(self.cluster) as server:
            server.client.create_bucket(bucket)
        self.expect_completed()
        self.assertEqual(self.counts(), {"x": (10, 10)})


class StaticStability(JobStory):
    # Elsewhere: ArroyoSystems/arroyo#787, ArroyoSystems/arroyo#641.
    def test_without_an_operator_killed_workers_come_back_checkpoints_go_on_and_nothing_is_lost(self) -> None:
        rows = many(files=40, each=800)
        self.upload(rows)
        self.kubectl.apply(manifest(self.counting(rate=30), workers={"replicas": 2}))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        operator = self.cluster.kubectl.at(OPERATOR_NAMESPACE)
        replicas = operator.get("deployment", run.RELEASE)["spec"]["replicas"]
        self.addCleanup(operator.wait_rollout, "deployment", run.RELEASE, SLOW)
        self.addCleanup(operator.run, "scale", "deployment", run.RELEASE, f"--replicas={replicas}")
        operator.run("scale", "deployment", run.RELEASE, "--replicas=0")
        gone_since, killed = time.monotonic(), 0
        while killed < 2 or time.monotonic() < gone_since + OUTAGE:
            before = self.job.report()["last_checkpoint"]["id"]
            kill_process(self.cluster, self.kubectl, self.job.pod(1 - killed % 2))
            self._newer_checkpoint(before)
            killed += 1
        print(f"{killed} workers were killed in {time.monotonic() - gone_since:.0f} s without an operator")
        operator.run("scale", "deployment", run.RELEASE, f"--replicas={replicas}")
        self.kubectl.apply(manifest(self.counting(rate=100_000), workers={"replicas": 2}))
        self.expect_completed()
        self.assertEqual(self.counts(), expected(rows))

    def _newer_checkpoint(self, before: int) -> None:
        def look() -> bool | wait.Pending:
            report = self.job.report()
            last = (report.get("last_checkpoint") or {}).get("id", 0)
            alive = report["phase"] == "Running" and report["records_in_attempt"] > 0
            return True if alive and last > before + 1 else wait.Pending(f"{report['phase']}, checkpoint {last} after {before}")

        wait.until("checkpoints to go on without an operator", look, SLOW, retry=watch.RETRY)


class Rollback(JobStory):
    def test_an_upgrade_that_fails_after_the_hand_over_is_rolled_back_and_nothing_is_lost(self) -> None:
        rows = many(files=20, each=800)
        self.upload(rows)
        self.kubectl.apply(manifest(self.counting(rate=25), workers={"replicas": 2}))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        self.job.wait_checkpointed(SLOW)
        # It compiles and fits the state; only a record shows what is wrong with it.
        poisoned = self.counting(rate=25).replace("FROM names GROUP", "FROM names WHERE 7 / (n - n) > 0 GROUP")
        self.kubectl.apply(manifest(poisoned, workers={"replicas": 2}))
        self.expect_stalled("UpgradeRolledBack", "revision 2 was rolled back to what revision 1 ran", "by zero")
        self.job.wait_flowing(SLOW)
        self.job.wait_checkpointed(SLOW)
        self.assertEqual(self.job.report()["revision"], 3, "a rollback is one more revision")
        kinds = [entry["kind"] for entry in self.job.object()["status"]["history"]]
        self.assertIn("Rollback", kinds)
        # The way out that the condition names.
        self.kubectl.apply(manifest(self.counting(rate=100_000), workers={"replicas": 2}))
        self.expect_completed()
        self.assertEqual(self.counts(), expected(rows))


class Zombie(JobStory):
    def test_a_coordinator_that_is_cut_off_lives_on_and_harms_nothing(self) -> None:
        self.require_faults()
        rows = many(files=6, each=3000)
        self.upload(rows)
        # Not beside the S3 server: the successor needs it.
        store = {pod["spec"].get("nodeName") for pod in self.kubectl.at("storage").objects("pods")}
        for node in set(self.cluster.node_names) - store:
            self.kubectl.run("label", "node", node, f"{self.namespace}=here")
            self.addCleanup(self.kubectl.run, "label", "node", node, f"{self.namespace}-")
        here = {"nodeSelector": {self.namespace: "here"}}
        self.kubectl.apply(manifest(self.counting(rate=40), workers={"replicas": 2, "podTemplate": here}))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        self.job.wait_checkpointed(SLOW)

        pod = self.kubectl.get("pod", self.job.pod(0))
        before, uid = self.job.report()["attempt"], pod["metadata"]["uid"]
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        node = self.cluster.node_names.index(pod["spec"]["nodeName"])
        self.addCleanup(self.heal, node)
        self.cluster.node("partition", node)

        def succeeded() -> bool | wait.Pending:
            there, report = self.kubectl.get("pod", self.job.pod(0)), self.job.report()
            new = there["metadata"]["uid"] != uid and report["attempt"] > before and report["records_in_attempt"] > 0
            return new or wait.Pending(f"pod {there['metadata']['uid']}, attempt {report['attempt']}")

        wait.until("a successor to lead the job", succeeded, SLOW, retry=watch.RETRY)
        self.job.wait_checkpointed(SLOW)
        self.assertIn("RUNNING", self.task(node, container), "the zombie is alive, and its successor takes checkpoints")
        self.heal(node)
        # The network is back, so it can write again; HEAD is not its own any more.
        wait.until("the zombie to end", lambda: wait.Pending(self.task(node, container)) if self.task(node, container) else True, SLOW)
        self.kubectl.apply(manifest(self.counting(rate=100_000), workers={"replicas": 2, "podTemplate": here}))
        self.expect_completed()
        self.assertEqual(self.counts(), expected(rows))

    def task(self, node: int, container: str) -> str:
        """What containerd says of a container; nothing when it has ended."""
        told = self.cluster.ctr(node, "tasks", "ls")
        return next((line for line in told.splitlines() if line.startswith(container) and "STOPPED" not in line), "")


class Snapshots(JobStory):
    def test_a_job_is_forked_from_a_snapshot_goes_back_to_it_and_the_folder_goes_with_the_object(self) -> None:
        rows = many(files=20, each=400)
        self.upload(rows)
        self.kubectl.apply(manifest(self.counting(rate=20)))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        self.kubectl.apply(snapshot("monday", deletionPolicy="Delete"))
        self.kubectl.run("wait", "ssnap/monday", "--for=condition=Ready", f"--timeout={SLOW}s", timeout=SLOW + 30)
        taken = self.kubectl.get("streamsnapshot", "monday")["status"]
        self.assertEqual(taken["phase"], "Completed")
        self.assertIn("metadata.json", self.folder_of(taken["uri"]))
        whole = expected(rows)

        # Another job continues from there, with its own output, and ends like a job that read everything.
        fork = manifest(self.counting(rate=100_000).replace("/out/", "/fork/"), restoreFrom={"snapshotRef": {"name": "monday"}})
        fork["metadata"]["name"] = "fork"
        self.kubectl.apply(fork)
        other = watch.Job(self.cluster, "fork", self.namespace)
        other.wait("the fork to complete", lambda job: None if job.get("status", {}).get("phase") == "Completed" else str(job.get("status", {}).get("conditions")), SLOW)
        last, first_seen = self.final("fork")
        self.assertEqual(last, whole)
        self.assertTrue(any(first_seen.values()), "the fork began from nothing")

        # The job itself goes back; what it wrote since is written again, and it ends right as well.
        before = self.job.report()["last_checkpoint"]["id"]
        self.kubectl.apply(manifest(self.counting(rate=100_000), restoreFrom={"snapshotRef": {"name": "monday"}}))

        def acted(job: Object) -> str | None:
            return None if (job.get("status", {}).get("restoreFrom") or {}).get("result") == "Succeeded" else str(job.get("status", {}).get("conditions"))

        restored = self.job.wait("the restore", acted, SLOW)["status"]
        self.assertGreater(restored["lastCheckpoint"]["id"], before, "checkpoint numbers never go back")
        self.expect_completed()
        self.assertEqual(self.final("out")[0], whole)

        self.kubectl.delete("streamsnapshot", "monday")
        self.assertEqual(self.folder_of(taken["uri"]), [])

    def folder_of(self, uri: str) -> list[str]:
        """Names of the objects of a snapshot."""
        prefix = uri.removeprefix(f"s3://{s3.BUCKET}/") + "/"
        with s3.connect(self.cluster) as server:
            return [entry.key.removeprefix(prefix) for entry in server.client.entries(s3.BUCKET, prefix)]

    def final(self, folder: str) -> tuple[dict[str, tuple[int, int]], dict[str, bool]]:
        """Returns the last row of every name, and whether its first change took back an earlier one."""
        last: dict[str, tuple[int, int]] = {}
        updates: dict[str, bool] = {}
        for line in self.changes(folder):
            change = json.loads(line)
            name = (change.get("after") or change["before"])["name"]
            updates.setdefault(name, bool(change.get("before")))
            if after := change.get("after"):
                last[name] = (after["rows_seen"], after["total"])
        return last, updates


def snapshot(name: str, **spec: object) -> Object:
    """A StreamSnapshot of `job`."""
    return {"apiVersion": "streamkeeper.dev/v1alpha1", "kind": "StreamSnapshot", "metadata": {"name": name}, "spec": {"jobRef": {"name": "job"}, **spec}}


def many(files: int, each: int) -> dict[str, list[str]]:
    """Objects of rows of a few names."""
    return {f"{day:02}.json": [json.dumps({"name": f"n{i % 7}", "n": i % 5}) for i in range(each)] for day in range(files)}


def expected(objects: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for lines in objects.values():
        for line in lines:
            row = json.loads(line)
            rows, total = counts.get(row["name"], (0, 0))
            counts[row["name"]] = (rows + 1, total + row["n"])
    return counts


class FirstLook(JobStory):
    def test_explain_columns_and_scale_answer_as_a_person_expects(self) -> None:
        said = self.kubectl.run("explain", "streamjob.spec.checkpoints.interval")
        self.assertIn("10s", said)
        self.assertGreater(len(said.split("DESCRIPTION:")[1].split()), 8)
        self.upload({"a.json": ['{"name":"x","n":1}'] * 12_000})
        self.kubectl.apply(manifest(self.counting()))
        self.job.wait_settled(SLOW)
        header, row = self.kubectl.run("get", "sj").splitlines()
        self.assertEqual(header.split(), ["NAME", "READY", "PHASE", "ENGINE", "PARALLELISM", "CHECKPOINT", "RESTARTS", "AGE"])
        self.assertEqual(row.split()[1:5], ["True", "Running", "Native", "1"])
        self.kubectl.run("scale", "sj/job", "--replicas=2")
        self.job.wait_settled(SLOW)
        self.assertEqual(self.job.object()["status"]["effective"]["parallelism"], 2)

    def test_the_operator_cannot_read_or_change_a_secret_with_certificates_or_without(self) -> None:
        for certificates in (False, True):
            run.install_operator(self.cluster, f"tls.enabled={json.dumps(certificates)}")
            for namespace in (OPERATOR_NAMESPACE, self.namespace):
                self.assertIn("list", self.operator_may("pods", namespace), "this is the account of the operator")
                self.assertEqual(self.operator_may("secrets", namespace), {"create"}, f"in {namespace}")
        for verb, answer in (("create", "yes"), *((verb, "no") for verb in ("get", "list", "watch", "patch", "update", "delete"))):
            asked = self.kubectl.at(OPERATOR_NAMESPACE).command("auth", "can-i", verb, "secrets", "--as", self.operator)
            said = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(said.stdout.strip(), answer, f"{verb} secrets: {said.stderr}")

    operator = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{run.RELEASE}"

    def operator_may(self, resource: str, namespace: str) -> set[str]:
        """Verbs that any rule allows the operator's service account, also for objects that the rule names."""
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
        told = json.loads(self.kubectl.run("create", "--validate=false", "--as", self.operator, "-o", "json", "-f", "-", stdin=json.dumps(review)))["status"]
        self.assertFalse(told["incomplete"], told.get("evaluationError"))
        return {verb for rule in told["resourceRules"] if {"", "*"} & set(rule["apiGroups"]) and {resource, "*"} & set(rule["resources"]) for verb in rule["verbs"]}
