"""The transitions in the middle of which faults strike."""

import time
from collections.abc import Callable

from dev.faults import load
from dev.faults.world import World

MISSING_IMAGE = "localhost/streamjob-runtime:does-not-exist"


# Transitions: each begins by an edit, as a user makes it. What comes out is what to wait for.


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
    """An image that does not exist, taken back a little later."""
    world.apply(image=MISSING_IMAGE)
    time.sleep(world.dice.uniform(1, 6))


def upgrade_to_roll_back(world: World) -> None:
    """A query that takes over and fails at its first record, corrected a little later."""
    world.apply(poisoned=True)
    time.sleep(world.dice.uniform(2, 10))


def snapshot(world: World) -> None:
    """A snapshot is asked for."""
    world.snapshots += 1
    world.job.kubectl.apply(load.snapshot(f"snapshot-{world.snapshots}"))


def suspend(world: World) -> None:
    """Suspended, and resumed a little later."""
    world.apply(suspend=True)
    time.sleep(world.dice.uniform(0, 5))


# (transition, weight, whether the spec as it stands must be applied again after the fault)
TRANSITIONS: list[tuple[Callable[[World], None], int, bool]] = [
    (nothing, 30, False),
    (upgrade, 14, False),
    (restart, 8, False),
    (rescale, 20, False),
    (rescale_and_upgrade, 6, False),
    (two_edits, 6, False),
    (broken_image, 6, True),
    (suspend, 10, True),
    (upgrade_to_roll_back, 10, True),
    (snapshot, 8, False),
]
