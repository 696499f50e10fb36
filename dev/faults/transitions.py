"""The transitions in which faults happen. Each begins with an action of a user."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from dev.demo.watch import RETRY, condition
from dev.faults import load, short_lived_job
from dev.faults.world import World
from dev.lib import wait
from dev.lib.kubectl import Object
from dev.s3 import install as s3

MISSING_IMAGE = "localhost/streamjob-runtime:does-not-exist"
LONG = 180
PROMOTED = "-promote-savepoint-"
"""In the keys of the calls by which a job goes to a snapshot."""


# ------------------------------------------------------------ what is under way


def of_the_job(world: World) -> str | None:
    """Kind and step of the transition that the status of the struck job names."""
    found = world.target.kubectl.find("streamjob", world.target.name)
    if found is None:
        return None
    seen = found.get("status", {}).get("transition")
    if seen is None and "deletionTimestamp" in found["metadata"]:
        return "Delete/Noticed"
    return f"{seen['kind']}/{seen['step']}" if seen else None


def of_the_snapshot(world: World) -> str | None:
    """How far the newest snapshot is, as long as it is not complete."""
    found = world.job.kubectl.find("streamsnapshot", world.snapshot)
    phase = (found or {}).get("status", {}).get("phase", "Pending")
    return f"Snapshot/{phase}" if phase in ("Pending", "InProgress", "Verifying") else None


# ------------------------------------------------------------ how it begins


def nothing(world: World) -> None:
    """The job just runs."""


def upgrade(world: World) -> None:
    """An edit of the query that comes and goes: an added aggregate."""
    world.extra = "" if world.extra else world.dice.choice(["MAX", "MIN"])
    world.apply()


def restart(world: World) -> None:
    """An edit that changes nothing of the query."""
    world.rate += 1
    world.apply()


def rescale(world: World) -> None:
    """Another number of workers."""
    world.workers = world.dice.choice([n for n in (1, 2, 3) if n != world.workers])
    world.apply()


def rescale_and_upgrade(world: World) -> None:
    """Both in one edit."""
    world.rate += 1
    rescale(world)


def two_edits(world: World) -> None:
    """An edit in the middle of another one's upgrade."""
    restart(world)
    time.sleep(world.dice.uniform(0, 3))
    restart(world)


def broken_image(world: World) -> None:
    """An image that does not exist, taken back later."""
    world.apply(image=MISSING_IMAGE)


def roll_back(world: World) -> None:
    """A query that takes over and fails at its first record, corrected later."""
    world.apply(poisoned=True)


def suspend(world: World) -> None:
    """Suspended, and resumed later."""
    world.apply(suspend=True)


def snapshot(world: World) -> None:
    """A snapshot is asked for."""
    world.snapshots += 1
    world.job.kubectl.apply(load.snapshot(world.snapshot))


def resume(world: World) -> None:
    """Back from a suspension."""
    world.apply()


def restore(world: World) -> None:
    """Back to a snapshot, in place."""
    world.spec = {"restoreFrom": {"snapshotRef": {"name": world.snapshot}}}
    world.apply()


# ------------------------------------------------------------ what must be there before


def suspended(world: World) -> None:
    """Nothing of the job runs any more."""
    world.apply(suspend=True)

    def look(job: Object) -> str | None:
        there = job["status"].get("observedGeneration") == job["metadata"]["generation"] and "transition" not in job["status"]
        return None if there and condition(job, "Suspended").get("status") == "True" else str(job["status"].get("transition"))

    world.job.wait("the job to be suspended", look, LONG)


def snapshotted(world: World) -> None:
    """A snapshot, and output since then, which the job will write again."""
    snapshot(world)
    world.job.kubectl.wait_condition("streamsnapshot", world.snapshot, "Ready", seconds=LONG)
    time.sleep(world.dice.uniform(2, 4))


# ------------------------------------------------------------ what is left to do


def again(world: World) -> None:
    """The spec as it stands, without what was tried."""
    world.apply()


def restored(world: World) -> None:
    """Notes which output the job left behind when it went back, and that the status says so too."""
    head = json.loads(world.store.get(s3.BUCKET, f"{load.STATE}/{world.job.namespace}/{world.job.name}/HEAD.json"))
    done = [it["result"]["checkpoint"] for it in head["operations"] if PROMOTED in it["key"] and it["result"]["is"] == "done"]
    went_back = bool(done) and done[0] not in [left.stop for left in world.left]
    told = world.job.object()["status"].get("restoreFrom") or {}
    if told.get("value") != f"snapshot {world.snapshot}" or (told["result"] == "Succeeded") != went_back:
        raise AssertionError(f"HEAD names the restore points {done}, and the status says {told}")
    if went_back:
        saved = world.job.kubectl.get("streamsnapshot", world.snapshot)["status"]["checkpoint"]["id"]
        world.left.append(range(saved + 1, done[0]))


@dataclass(frozen=True)
class Transition:
    """A change, as a user makes it."""

    begin: Callable[[World], None]
    weight: int
    kinds: tuple[str, ...] = ()
    """Kinds of what is under way that are waited for."""
    within: float = 0.6
    """Seconds that it is waited at most, from then on, before the fault strikes."""
    patience: float = 10
    """Seconds until it must be under way."""
    at_once: bool = False
    """Whether the victim is chosen before it begins: it is over soon."""
    before: Callable[[World], None] = nothing
    """What must be there first."""
    under_way: Callable[[World], str | None] = of_the_job
    end: Callable[[World], None] = nothing
    """After the fault."""
    after: Callable[[World], None] = nothing
    """After the job has recovered."""

    @property
    def name(self) -> str:
        """In words."""
        return self.begin.__name__.replace("_", " ")

    def catch(self, world: World) -> None:
        """Returns somewhere in the middle of it, if it does not end first."""

        def look() -> bool | wait.Pending:
            seen = self.under_way(world)
            return seen is not None and seen.partition("/")[0] in self.kinds or wait.Pending(f"{seen}")

        if self.kinds:
            try:
                wait.until(self.name, look, self.patience, interval=0.05, retry=RETRY)
            except wait.Timeout:
                return
        time.sleep(world.dice.uniform(0, self.within))

    def where(self, world: World) -> str:
        """What is under way now."""
        seen = wait.until("the status", lambda: self.under_way(world) or "", LONG, retry=RETRY)
        return seen or (f"steady (after {self.name})" if self.kinds else "steady")


TRANSITIONS: list[Transition] = [
    Transition(nothing, 16),
    Transition(upgrade, 14, ("Upgrade",)),
    Transition(restart, 8, ("Upgrade",)),
    Transition(rescale, 18, ("Rescale",), within=0.5, at_once=True),
    Transition(rescale_and_upgrade, 6, ("Upgrade", "Rescale")),
    Transition(two_edits, 6, ("Upgrade",)),
    Transition(broken_image, 6, ("Upgrade",), within=5, end=again),
    Transition(suspend, 8, ("Suspend",), within=0.2, at_once=True, end=again),
    Transition(resume, 8, ("Resume",), before=suspended),
    Transition(roll_back, 10, ("Rollback",), patience=60, end=again),
    Transition(snapshot, 8, ("Snapshot",), within=0.2, at_once=True, under_way=of_the_snapshot),
    Transition(restore, 14, ("Restore",), before=snapshotted, at_once=True, after=restored),
    # Before it has pods the operator, the store and the API server can be struck, and then the pods.
    Transition(short_lived_job.first_start, 4, ("Deploy",), before=short_lived_job.expected, at_once=True, after=short_lived_job.started),
    Transition(short_lived_job.first_start, 4, ("Deploy",), within=0, before=short_lived_job.expected, after=short_lived_job.started),
    Transition(short_lived_job.deletion, 8, ("Delete",), within=0, before=short_lived_job.running, at_once=True, after=short_lived_job.deleted),
]
