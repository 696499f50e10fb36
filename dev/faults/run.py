#!/usr/bin/env python3
"""A job under load through many seeded faults: `make faults [N=100] [SEED=…]`.

Each round begins a transition (or none), lets a fault strike somewhere in the middle of it, and waits until the spec is in force, records flow and a new checkpoint is complete. In the end the feeder
stops and SQLite holds the output against everything that was fed. Exit code 0 only if nothing was lost, written twice or counted wrong. The same seed makes the same rounds.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.demo import run  # noqa: E402
from dev.demo.watch import RETRY, Job, settled  # noqa: E402
from dev.e2e import stage  # noqa: E402
from dev.faults import load, strikes, transitions  # noqa: E402
from dev.faults.world import Missed, World  # noqa: E402
from dev.lib import diagnose, narrate, wait  # noqa: E402
from dev.lib.cluster import Local, Unsupported, choose  # noqa: E402
from dev.lib.kubectl import CommandFailed, Kubectl, Object  # noqa: E402
from dev.lib.paths import CACHE  # noqa: E402
from dev.lib.s3 import S3  # noqa: E402
from dev.s3 import install as s3  # noqa: E402

NAMESPACE = "faults"
LONG = 300
ROWS_PER_SECOND = 1000


def main() -> int:
    """`make faults`."""
    rounds = int(os.environ.get("N") or 100)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    cluster = choose()
    if not isinstance(cluster, Local):
        raise Unsupported("faults of nodes need the cluster of this repository: unset KUBECONFIG and STREAMKEEPER_CLUSTER")
    was_running = cluster.running()
    stage.prepare()
    try:
        run.install_operator(cluster)
        return 0 if tell(cluster, seed, rounds) else 1
    except (AssertionError, wait.Timeout):
        print(diagnose.report(cluster.kubectl), file=sys.stderr)
        raise
    finally:
        if not was_running and not os.environ.get("KEEP"):
            cluster.down()


def tell(cluster: Local, seed: int, rounds: int) -> bool:
    """All rounds; whether the ledger is exact."""
    narrate.heading(f"{rounds} faults, seed {seed}")
    dice = random.Random(seed)
    job = Job(cluster, "load", NAMESPACE)
    world = World(cluster, job, dice)
    access, secret = s3.keys(cluster.kubectl)
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    job.kubectl.apply(s3.credentials(NAMESPACE, s3.SECRET, access, secret))
    pauses: dict[str, list[float]] = defaultdict(list)
    struck: dict[str, int] = defaultdict(int)
    with s3.connect(cluster) as server:
        with narrate.Step("what an earlier run left", usually="1 s"):
            load.clear(job.kubectl, server.client, NAMESPACE)
        feeder = load.Feeder(server.client, seed, ROWS_PER_SECOND)
        feeder.start()
        with narrate.Step("first start", usually="6 s") as step:
            world.apply()
            job.wait_settled(LONG, step.update)
            job.wait_flowing(LONG, 0, step.update)
        while sum(struck.values()) < rounds:
            strike(world, rounds, pauses, struck)
        with narrate.Step("reading to the end", usually="20 s") as step:
            rows = feeder.stop()
            counted: dict[str, int] = {}
            wait.until("all rows to be written", lambda: _all_written(server.client, len(rows), counted), LONG, interval=1, retry=RETRY, on_pending=step.update)
        with narrate.Step(f"{world.snapshots} snapshots", usually="1 s") as step:
            wait.until("all snapshots to be complete", lambda: _all_complete(job.kubectl), LONG, interval=1, retry=RETRY, on_pending=step.update)
        verdict = load.check(server.client, rows)
        report(pauses, struck, seed, verdict)
        for kind in ("streamsnapshots", "streamjobs"):
            job.kubectl.run("delete", kind, "--all", "--timeout=120s", timeout=150)
    for example in verdict.examples:
        narrate.say(example)
    return verdict.exact


def strike(world: World, rounds: int, pauses: dict[str, list[float]], struck: dict[str, int]) -> None:
    """One round. A fault that found nobody to strike does not count."""
    transition, _, again = world.dice.choices(transitions.TRANSITIONS, [weight for _, weight, _ in transitions.TRANSITIONS])[0]
    fault = world.dice.choices([fault for fault, _ in strikes.FAULTS], [weight for _, weight in strikes.FAULTS])[0]
    delay = world.dice.uniform(0, 4)
    name = f"{transition.__name__.replace('_', ' ')} + {fault.__name__.replace('_', ' ')}"
    number = sum(struck.values()) + 1
    with narrate.Step(f"{number:3} of {rounds}: {name}") as step:
        began = int(time.time() * 1000)
        transition(world)
        time.sleep(delay)
        seen = world.job.object().get("status", {}).get("transition") or {}
        missed = False
        try:
            victim = fault(world)
        except Missed as why:
            missed, victim = True, f"missed: {why}"
        if again:
            world.apply()
        measured = recovered(world, _checkpoint(world.job), began, step)
        if not missed:
            pauses[transition.__name__].append(measured)
            struck[fault.__name__] += 1
        middle = f"in {seen['kind']}/{seen['step']}" if seen else "while it ran"
        step.result(f"{victim}, {middle}; longest pause {measured:.1f} s")


def recovered(world: World, before: int, began: int, step: narrate.Step) -> float:
    """The spec is in force, the nodes are there, records flow, and two checkpoints after the fault are complete: the first may have been under way. Answers the longest pause since `began`."""
    for node in world.cluster.node_names:
        world.cluster.kubectl.wait_condition("node", node, "Ready", seconds=90)

    def look() -> float | wait.Pending:
        job: Object = world.job.object()
        if why := settled(job):
            return wait.Pending(why)
        report = world.job.report()
        last = (report.get("last_checkpoint") or {}).get("id", 0)
        flows = report["phase"] == "Running" and report["records_in_attempt"] > 0
        if not flows or last <= before + 1:
            return wait.Pending(f"{report['phase']}, checkpoint {last}, {before} at the fault")
        if any(pause["first_after_ms"] is None for pause in report["pauses"]):
            return wait.Pending("a pause that has not ended")
        of_coordinator = [pause.seconds or 0.0 for pause in world.job.pauses() if (pause.first_after_ms or 0) >= began]
        return max([*of_coordinator, *_of_history(job, began)], default=0.0)

    return wait.until("the job to recover", look, LONG, interval=0.5, retry=RETRY, on_pending=step.update)


def _of_history(job: Object, began: int) -> list[float]:
    """Pauses that the status remembers: a coordinator that died has taken its own along."""
    entries = [entry for entry in job["status"].get("history", []) if entry.get("pause")]
    return [float(entry["pause"].removesuffix("s")) for entry in entries if datetime.fromisoformat(entry["time"]).timestamp() * 1000 >= began]


def _checkpoint(job: Job) -> int:
    """The last complete one."""
    return wait.until("the coordinator to answer", lambda: int((job.report().get("last_checkpoint") or {}).get("id", 0)), LONG, retry=RETRY)


def _all_written(client: S3, rows: int, counted: dict[str, int]) -> bool | wait.Pending:
    written = load.written(client, counted)
    return True if written >= rows else wait.Pending(f"{written} of {rows} rows")


def _all_complete(kubectl: Kubectl) -> bool | wait.Pending:
    """Whether every snapshot is there whole, whatever struck while it was taken."""
    phases = {it["metadata"]["name"]: it.get("status", {}).get("phase") for it in kubectl.objects("streamsnapshots")}
    others = [f"{name} is {phase}" for name, phase in phases.items() if phase != "Completed"]
    return wait.Pending(", ".join(others)) if others else True


def report(pauses: dict[str, list[float]], struck: dict[str, int], seed: int, verdict: load.Verdict) -> None:
    """What it cost, and whether it is right."""
    narrate.heading("What it cost, and whether it is right")
    lines = [
        (name.replace("_", " "), len(all_), f"{statistics.median(all_):.1f} s", f"{max(all_):.1f} s")
        for name, all_ in sorted(pauses.items())
    ]
    narrate.table(("in the middle of", "faults", "median of the longest pause", "longest"), lines)
    narrate.table(("fault", "times"), [(name.replace("_", " "), count) for name, count in sorted(struck.items())])
    (CACHE / "faults.json").write_text(json.dumps({"seed": seed, "pauses": pauses, "faults": struck}, indent=1))
    print(f"\n{sum(struck.values())} faults, seed {seed}\n{verdict}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandFailed, Unsupported, wait.Timeout, subprocess.CalledProcessError, AssertionError) as error:
        sys.exit(f"faults: {error}")
