#!/usr/bin/env python3
"""A job under load through many seeded faults: `make faults [N=100] [SEED=…]`.

Each round begins a transition (or none) and injects a fault once the status says that the transition is in progress. Then it
waits until the spec is in force, records flow and a new checkpoint is complete. The fault is counted under what the status
said just before it. In the end the feeder stops, and SQLite compares the output with all rows that were fed. The exit code is
0 only if nothing was lost, written twice or counted wrong. Equal seeds make equal rounds.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.demo import run  # noqa: E402
from dev.demo.watch import RETRY, Job, settled  # noqa: E402
from dev.e2e import base  # noqa: E402
from dev.faults import injections, load, output, short_lived_job, transitions  # noqa: E402
from dev.faults.world import Missed, World  # noqa: E402
from dev.lib import diagnose, narrate, wait  # noqa: E402
from dev.lib.cluster import Local, Unsupported, choose  # noqa: E402
from dev.lib.kubectl import CommandFailed, Kubectl, Object  # noqa: E402
from dev.lib.paths import CACHE  # noqa: E402
from dev.s3 import install as s3  # noqa: E402

NAMESPACE = "faults"
LONG = 300
TRIES = 6
ROWS_PER_SECOND = 1000


def main() -> int:
    """`make faults`."""
    rounds = int(os.environ.get("N") or 100)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    cluster = choose()
    if not isinstance(cluster, Local):
        raise Unsupported("faults of nodes need the cluster of this repository: unset KUBECONFIG and STREAMKEEPER_CLUSTER")
    was_running = cluster.running()
    base.prepare()
    try:
        run.install_operator(cluster)
        return 0 if tell(cluster, seed, rounds) else 1
    except (AssertionError, wait.Timeout):
        print(diagnose.report(cluster.kubectl), file=sys.stderr)
        raise
    finally:
        if not was_running and not os.environ.get("KEEP"):
            cluster.down()


@dataclass
class Tally:
    """The faults that happened."""

    rounds: int = 0
    pauses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """The longest pause that followed, by what was under way: `Upgrade/HandingOver`, or `steady`."""
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def struck(self) -> int:
        """How many."""
        return sum(self.faults.values())

    @property
    def in_the_middle(self) -> int:
        """How many happened during a transition."""
        return sum(len(all_) for where, all_ in self.pauses.items() if "/" in where)


def tell(cluster: Local, seed: int, rounds: int) -> bool:
    """Plays all rounds. Returns whether the ledger is exact."""
    narrate.heading(f"{rounds} faults, seed {seed}")
    job = Job(cluster, "load", NAMESPACE)
    access, secret = s3.keys(cluster.kubectl)
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    job.kubectl.apply(s3.credentials(NAMESPACE, s3.SECRET, access, secret))
    tally = Tally()
    with s3.connect(cluster) as server:
        world = World(cluster, job, server.client)
        with narrate.Step("what an earlier run left", usually="1 s"):
            load.clear(job.kubectl, server.client, NAMESPACE)
            short_lived_job.feed(server.client)
        feeder = load.Feeder(server.client, seed, ROWS_PER_SECOND)
        feeder.start()
        with narrate.Step("first start", usually="6 s") as step:
            world.apply()
            job.wait_settled(LONG, step.update)
            job.wait_flowing(LONG, 0, step.update)
        while tally.struck < rounds:
            world.dice = random.Random(f"{seed} {tally.rounds}")
            one(world, rounds, tally)
        with narrate.Step("reading to the end", usually="20 s") as step:
            rows = feeder.stop()
            counted: dict[str, int] = {}
            written = lambda: _all_written(world, len(rows), counted)  # noqa: E731
            wait.until("all rows to be written", written, LONG, interval=1, retry=RETRY, on_pending=step.update)
        with narrate.Step(f"{world.snapshots} snapshots", usually="1 s") as step:
            wait.until("all snapshots to be complete", lambda: _all_complete(job.kubectl), LONG, interval=1, retry=RETRY, on_pending=step.update)
        verdict = output.check(server.client, rows, world.left)
        report(tally, world, seed, verdict)
        for kind in ("streamsnapshots", "streamjobs"):
            job.kubectl.run("delete", kind, "--all", "--timeout=120s", timeout=150)
    for example in verdict.examples:
        narrate.say(example)
    return verdict.exact


def one(world: World, rounds: int, tally: Tally) -> None:
    """Plays one round."""
    tally.rounds += 1
    transition = world.dice.choices(transitions.TRANSITIONS, [it.weight for it in transitions.TRANSITIONS])[0]
    with narrate.Step(f"{tally.struck + 1:3} of {rounds}: {transition.name}") as step:
        transition.before(world)
        began = int(time.time() * 1000)
        where, fault, victim = strike(world, transition)
        transition.end(world)
        measured = recovered(world, _checkpoint(world.job), began, step)
        transition.after(world)
        if fault:
            tally.pauses[where].append(measured)
            tally.faults[fault] += 1
        step.result(f"{fault or 'no fault'}: {victim}; {where or '-'}; longest pause {measured:.1f} s")


def strike(world: World, transition: transitions.Transition) -> tuple[str, str, str]:
    """Begins the transition and injects a fault in the middle of it. Returns what was in progress just before, the name of the fault and its victim."""
    missed: list[str] = []
    aimed = aim(world, missed) if transition.at_once else None
    transition.begin(world)
    transition.catch(world)
    for _ in range(TRIES):
        name, fault = aimed or aim(world, missed)
        aimed, where = None, transition.where(world)
        try:
            next(fault)
        except StopIteration as struck:
            return where, name, struck.value
        except Missed as why:
            missed.append(f"{name}: {why}")
    return "", "", "; ".join(missed)


def aim(world: World, missed: list[str]) -> tuple[str, injections.Fault]:
    """Returns a fault that has found its victim, and its name. A fault without a victim gives way to another one."""
    for _ in range(TRIES):
        kind = world.dice.choices([fault for fault, _ in injections.FAULTS], [weight for _, weight in injections.FAULTS])[0]
        name, fault = kind.__name__.replace("_", " "), kind(world)
        try:
            next(fault)
        except Missed as why:
            missed.append(f"{name}: {why}")
        else:
            return name, fault
    raise AssertionError(f"no fault finds a victim: {'; '.join(missed)}")


def recovered(world: World, before: int, began: int, step: narrate.Step) -> float:
    """Waits until the spec is in force, all nodes are ready, records flow, and two checkpoints after the fault are complete: the first may have begun before. Returns the longest pause since `began`."""
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
    """Returns the pauses in the history of the status: those in a coordinator are lost when it dies."""
    entries = [entry for entry in job["status"].get("history", []) if entry.get("pause")]
    return [float(entry["pause"].removesuffix("s")) for entry in entries if datetime.fromisoformat(entry["time"]).timestamp() * 1000 >= began]


def _checkpoint(job: Job) -> int:
    """Returns the last complete checkpoint."""
    return wait.until("the coordinator to answer", lambda: int((job.report().get("last_checkpoint") or {}).get("id", 0)), LONG, retry=RETRY)


def _all_written(world: World, rows: int, counted: dict[str, int]) -> bool | wait.Pending:
    written = output.written(world.store, world.left, counted)
    return True if written >= rows else wait.Pending(f"{written} of {rows} rows")


def _all_complete(kubectl: Kubectl) -> bool | wait.Pending:
    """Returns whether every snapshot is complete, whatever happened while it was taken."""
    phases = {it["metadata"]["name"]: it.get("status", {}).get("phase") for it in kubectl.objects("streamsnapshots")}
    others = [f"{name} is {phase}" for name, phase in phases.items() if phase != "Completed"]
    return wait.Pending(", ".join(others)) if others else True


def report(tally: Tally, world: World, seed: int, verdict: output.Verdict) -> None:
    """Prints the pauses and the verdict."""
    narrate.heading("What it cost, and whether it is right")
    kinds: dict[str, list[str]] = defaultdict(list)
    for where in sorted(tally.pauses):
        kinds[where.partition("/")[0]].append(where)
    lines = []
    for kind, all_ in kinds.items():
        pauses = [pause for where in all_ for pause in tally.pauses[where]]
        steps = ", ".join(f"{where.partition('/')[2]} {len(tally.pauses[where])}" for where in all_ if "/" in where)
        lines.append((kind, len(pauses), steps, f"{statistics.median(pauses):.1f} s", f"{max(pauses):.1f} s"))
    narrate.table(("in the middle of", "faults", "at the step", "median of the longest pause", "longest"), lines)
    narrate.table(("fault", "times"), sorted(tally.faults.items()))
    (CACHE / "faults.json").write_text(json.dumps({"seed": seed, "pauses": tally.pauses, "faults": tally.faults}, indent=1))
    print(f"\n{tally.struck} faults in {tally.rounds} rounds, {tally.in_the_middle} of them during a transition; seed {seed}")
    print(f"{len(world.left)} restores went back, {world.guests} other jobs started and were deleted")
    print(verdict)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandFailed, Unsupported, wait.Timeout, subprocess.CalledProcessError, AssertionError) as error:
        sys.exit(f"faults: {error}")
