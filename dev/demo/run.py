#!/usr/bin/env python3
"""The whole story on a real cluster: `make demo`.

FULL=1 replays the whole year instead of January; KEEP=1 leaves the cluster and the job up.
Ends with 0 only if every step did what it says and the ledger is exact.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev import images  # noqa: E402
from dev.demo import flights  # noqa: E402
from dev.demo.story import OPERATOR_NAMESPACE, Story  # noqa: E402
from dev.demo.watch import Job  # noqa: E402
from dev.lib import narrate, wait  # noqa: E402
from dev.lib.cluster import Cluster, Unsupported, choose  # noqa: E402
from dev.lib.kubectl import CommandFailed  # noqa: E402
from dev.lib.paths import CACHE, ROOT  # noqa: E402
from dev.s3 import install as s3  # noqa: E402

RELEASE, CHART = "streamkeeper", ROOT / "charts" / "streamkeeper"
SPEED, FULL_SPEED = 60, 900


def prepare(cluster: Cluster) -> None:
    """Cluster, images, S3, operator."""
    narrate.heading("A cluster of three nodes, S3 in it, and the operator by Helm")
    with narrate.Step("images of operator and runtime", usually="1 min after a change") as step:
        built = images.build(["operator", "runtime", "seaweedfs"], on_progress=step.update)
        step.result(", ".join(f"{image.reference.split('/')[-1]} {image.megabytes:.0f} MB" for image in built))
    with narrate.Step("cluster up", usually="8 s"):
        cluster.up(3)
        cluster.load(*(image.archive for image in built))
    with narrate.Step("S3 server in the cluster", usually="8 s") as step:
        s3.install(cluster, step.update)
    with narrate.Step("helm install", usually="4 s"):
        install_operator(cluster)


def install_operator(cluster: Cluster, *settings: str, image: str = images.OPERATOR, chart: Path = CHART) -> None:
    """Install the chart as a user would, or upgrade to it, with the demo's images and storage."""
    kubectl = cluster.kubectl
    access, secret = s3.keys(kubectl)
    for namespace in (OPERATOR_NAMESPACE, flights.NAMESPACE):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        kubectl.at(namespace).apply(s3.credentials(namespace, s3.SECRET, access, secret))
    repository, tag = image.rsplit(":", 1)
    values = [
        f"image.repository={repository}",
        f"image.tag={tag}",
        # Another build under the same tag: other pods.
        f"operator.podAnnotations.digest={images.digest(image)}",
        f"runtime.image={images.RUNTIME}",
        f"storage.s3.uri=s3://{s3.BUCKET}/state",
        f"storage.s3.endpoint={s3.ENDPOINT}",
        f"storage.credentialsSecret={s3.SECRET}",
        *settings,
    ]
    arguments = [part for value in values for part in ("--set", value)]
    kubectl.at(OPERATOR_NAMESPACE).helm("upgrade", "--install", RELEASE, str(chart), "--wait", "--timeout", "120s", *arguments)


def tell(cluster: Cluster, full: bool) -> bool:
    """Plays the story. Returns whether the ledger is exact."""
    narrate.heading("The flights of New York 2013, replayed from S3" + (" (the whole year)" if full else " (January)"))
    files = flights.days(full)
    with s3.connect(cluster) as server:
        with narrate.Step("uploading the input") as step:
            flights.clear(cluster.kubectl, server.client)
            rows = flights.upload(server.client, files)
            step.result(f"{rows} flights in {len(files)} objects")
        story = Story(cluster, Job(cluster), flights.manifest(), FULL_SPEED if full else SPEED)
        story.apply_first()

        narrate.heading("Things happen to it")
        story.kill_worker(0)
        story.scale(3)
        story.kill_worker(2)
        story.edit("an edit of the SQL: MAX(dep_delay) added", flights.with_worst, "upgrade, aggregate added")
        story.suspend_and_resume()
        story.broken_image()
        if cluster.faults:
            story.lose_node()
        faster = story.speed * 3 // 2
        story.operator_dies_in_upgrade(lambda text: flights.with_rate(text, faster))
        story.scale(2)
        story.finish(rows)

        narrate.heading("What it cost, and whether it is right")
        narrate.table(("transition", "pause", "restored from", "rows read"), [(r.transition, r.pause, r.restored_from, r.rows) for r in story.rows])
        verdict = flights.check(server.client, files)
    (CACHE / "demo.json").write_text(json.dumps({row.transition: row.seconds for row in story.rows}, indent=1))
    print(f"\n{verdict}")
    print(
        f"added column: exact in {verdict.added_exact} rows, begun in the middle of {verdict.added_partial} windows"
        f" that were open at the edit, wrong in {verdict.wrong}"
    )
    for example in verdict.examples:
        narrate.say(example)
    return verdict.exact


def say_what_next(cluster: Cluster) -> None:
    """What to try on a cluster that was left up."""
    config = cluster.kubectl.kubeconfig
    narrate.heading("Left up for you")
    for line in (
        f"export KUBECONFIG={config} PATH=$PATH:{Path(cluster.kubectl.binary).parent}",
        "kubectl -n flights get streamjobs -o wide",
        "kubectl -n flights describe streamjob delays",
        "kubectl explain streamjob.spec.checkpoints",
        "make cluster-down     # when you have seen enough",
    ):
        print(f"  {line}")


def explain_failure(cluster: Cluster) -> None:
    """Prints what a person needs to see when a step failed."""
    kubectl = cluster.kubectl.at(flights.NAMESPACE)
    narrate.heading("What the cluster says")
    for arguments in (
        ("get", "streamjobs,pods,statefulsets", "-o", "wide"),
        ("get", "streamjob", flights.JOB, "-o", "jsonpath={.status}"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "-l", "streamkeeper.dev/job=delays", "--prefix", "--tail=25", "--all-containers"),
        ("logs", "-n", OPERATOR_NAMESPACE, "deployment/streamkeeper", "--tail=40"),
    ):
        print(f"$ kubectl {' '.join(arguments)}")
        with contextlib.suppress(CommandFailed, subprocess.TimeoutExpired):
            print(cluster.kubectl.run(*arguments) if "-n" in arguments else kubectl.run(*arguments))


def main() -> int:
    """`make demo`."""
    full, keep = (os.environ.get(name, "") not in ("", "0") for name in ("FULL", "KEEP"))
    cluster = choose()
    began = time.monotonic()
    exact = False
    try:
        prepare(cluster)
        exact = tell(cluster, full)
    except (CommandFailed, Unsupported, wait.Timeout, AssertionError, subprocess.CalledProcessError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        if cluster.running():
            explain_failure(cluster)
    finally:
        if keep:
            say_what_next(cluster)
        else:
            cluster.down()
    print(f"\n{'done' if exact else 'FAILED'} in {narrate.elapsed(time.monotonic() - began)}")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
