"""The operator is exchanged below running jobs: an earlier one, this one, the earlier one again.

PREVIOUS=COMMIT names the earlier one, which is built from a checkout of its own and installed with its own chart.
Without it the earlier one is this one: what remains is that pods of the operator come and go.
"""

import os
import subprocess
from pathlib import Path

from dev import images
from dev.demo import run, watch
from dev.demo.story import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.e2e.story_job import SLOW, JobStory, expected, many, manifest, snapshot
from dev.lib import narrate, wait
from dev.lib.kubectl import Object
from dev.lib.paths import CACHE, ROOT

WORKERS = {"replicas": 2, "podTemplate": {"labels": {"team": "a"}}}


def checkout(commit: str) -> Path:
    """That commit's files, in the cache."""
    sha = subprocess.run(["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    there = CACHE / "previous" / sha
    if not there.exists():
        new = there.with_suffix(".new")
        new.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(["git", "archive", sha], cwd=ROOT, stdout=subprocess.PIPE) as archive:
            subprocess.run(["tar", "-x", "-C", str(new)], stdin=archive.stdout, check=True)
        new.rename(there)
    return there


class OperatorExchanged(JobStory):
    def setUp(self) -> None:
        commit = os.environ.get("PREVIOUS", "")
        self.source = checkout(commit) if commit else ROOT
        with narrate.Step(f"the operator of {commit or 'this checkout'}, under another name", usually="minutes, the first time") as step:
            built = images.previous_operator(self.source, step.update)
        super().setUp()
        self.cluster.load(built.archive)

    def install_previous(self) -> None:
        """Upgrades, or goes back, to the earlier operator."""
        run.install_operator(self.cluster, image=images.PREVIOUS, chart=self.source / "charts" / "streamkeeper")
        self.expect_operator(images.PREVIOUS)

    def install_this(self) -> None:
        """Upgrades to this operator."""
        run.install_operator(self.cluster)
        self.expect_operator(images.OPERATOR)

    def expect_operator(self, image: str) -> None:
        """Waits until no other replica is left."""

        def others() -> bool | wait.Pending:
            pods = self.kubectl.at(OPERATOR_NAMESPACE).objects("pods", OPERATOR_SELECTOR)
            of_others = [pod for pod in pods if pod["spec"]["containers"][0]["image"] != image]
            return wait.Pending(f"{len(of_others)} pods of the other") if of_others or not pods else True

        wait.until(f"{image} to be alone", others, SLOW)

    def untouched(self) -> dict[str, object]:
        """What must not change: the children of all jobs, but for what the jobs themselves do, and what the running one measured."""
        kept: dict[str, object] = {}
        for pod in self.kubectl.objects("pods"):
            restarts = [container["restartCount"] for container in pod["status"].get("containerStatuses", [])]
            kept[f"pod {pod['metadata']['name']}"] = (pod["metadata"]["uid"], restarts)
        for kind in ("statefulsets", "services", "configmaps", "controllerrevisions"):
            for found in self.kubectl.objects(kind, "streamkeeper.dev/job"):
                kept[f"{kind} {found['metadata']['name']}"] = (found["metadata"]["uid"], found["metadata"].get("generation"), found.get("spec"), found.get("data"))
        for job in self.kubectl.objects("streamjobs"):
            status, name = job["status"], job["metadata"]["name"]
            told = {kind: watch.condition(job, kind).get("status") for kind in ("Ready", "Suspended", "Stalled", "Reconciling")}
            kept[f"streamjob {name}"] = (job["metadata"]["generation"], status["observedGeneration"], status.get("revision"), told, status.get("restarts", {}).get("count", 0))
        report = self.job.report()
        kept["report"] = (report["job_uid"], report["attempt"], report["restarts"], report["pauses"])
        return kept

    def prove(self, name: str) -> None:
        """The operator that is there has looked at every job, and works."""
        names = {job["metadata"]["name"] for job in self.kubectl.objects("streamjobs")}

        def looked() -> bool | wait.Pending:
            seen = set()
            for pod in self.kubectl.at(OPERATOR_NAMESPACE).objects("pods", OPERATOR_SELECTOR):
                lines = self.kubectl.run("get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics").splitlines()
                seen |= {job for job in names for line in lines if f'namespace="{self.namespace}"' in line and f'streamjob="{job}"' in line}
            return seen == names or wait.Pending(f"it has looked at {', '.join(sorted(seen)) or 'none'}")

        wait.until("the operator to have looked at all jobs", looked, SLOW, retry=watch.RETRY)
        self.kubectl.apply(snapshot(name))
        self.kubectl.wait_condition("streamsnapshot", name, "Ready", seconds=SLOW)
        self.job.wait_settled(SLOW)

    # Elsewhere: FLINK-38479.
    def test_no_job_notices_that_the_operator_is_exchanged_and_exchanged_back(self) -> None:
        objects = many(4, 2000)
        self.upload(objects)
        self.install_previous()
        self.kubectl.apply(manifest(self.counting(rate=10), workers=WORKERS))
        self.kubectl.apply(other("idle", suspend=True))
        self.kubectl.apply(other("refused", sql="SELECT nonsense;"))
        self.job.wait_settled(SLOW)
        self.job.wait_flowing(SLOW)
        for name, kind in (("idle", "Suspended"), ("refused", "Stalled")):
            self.kubectl.wait_condition("streamjob", name, kind, seconds=SLOW)
        self.prove("before")
        before = self.untouched()
        self.assertIn("pod job-r1-1", before)

        self.install_this()
        self.prove("upgraded")
        self.assertEqual(self.untouched(), before, "upgraded")

        self.install_previous()
        self.prove("back")
        self.assertEqual(self.untouched(), before, "back")

        self.install_this()
        self.kubectl.apply(manifest(self.counting(rate=100_000), workers=WORKERS))
        self.expect_completed()
        self.assertEqual(self.counts(), expected(objects))


def other(name: str, sql: str = "", **spec: object) -> Object:
    """Another job, with no input and no output."""
    generated = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1'); CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO nowhere SELECT n FROM numbers;"
    job = manifest(sql or generated, **spec)
    job["metadata"]["name"] = name
    return job
