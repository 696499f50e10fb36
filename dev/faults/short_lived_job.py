"""A second, small job with a short life. Faults also hit its first start and its deletion, and it has a ledger of its own.

After its deletion none of its pods may run, and its state must be released: a job of the same name continues from there and
ends with every row written once.
"""

import json
import random

from dev.demo.watch import RETRY, Job
from dev.faults import load, output
from dev.faults.world import World
from dev.lib import narrate, wait
from dev.lib.kubectl import Object
from dev.lib.s3 import S3
from dev.s3 import install as s3

LONG = 240
SOURCE, OBJECTS, ROWS = "guest-in", 4, 4000
SLOW, FAST = 60, 2000
CHILDREN = ("pods", "statefulsets", "services", "configmaps", "controllerrevisions")


def rows() -> list[output.Row]:
    """Returns the rows that every guest reads."""
    dice = random.Random(ROWS)
    return [(number, f"n{dice.randrange(load.NAMES)}", dice.randrange(100)) for number in range(ROWS)]


def feed(client: S3) -> None:
    """Puts these rows into the store."""
    for number in range(OBJECTS):
        lines = [json.dumps({"id": i, "name": name, "n": n}) for i, name, n in rows()[number::OBJECTS]]
        client.put(s3.BUCKET, f"{load.FOLDER}/{SOURCE}/{number}.json", ("\n".join(lines) + "\n").encode())


def apply(world: World, rate: int, metadata: Object | None = None, **spec: object) -> Job:
    """`kubectl apply` of the guest."""
    guest = world.target
    text = load.sql(rate, source=SOURCE, out=f"{guest.name}/", bounded=True)
    manifest = load.manifest(text, guest.name, workers={"replicas": 2}, **spec)
    manifest["metadata"] |= metadata or {}
    guest.kubectl.apply(manifest)
    return guest


# ------------------------------------------------------------ as transitions


def expected(world: World) -> None:
    """Names the next guest."""
    world.guests += 1
    world.guest = Job(world.cluster, f"guest-{world.guests}", world.job.namespace)


def first_start(world: World) -> None:
    """A guest starts."""
    apply(world, FAST)


def running(world: World) -> None:
    """Brings a guest into the middle of its work. Its deletion may have to take a snapshot."""
    expected(world)
    guest = apply(world, SLOW, snapshots={"onDelete": world.dice.choice(["Take", "Skip"])})
    guest.wait_settled(LONG)
    guest.wait_flowing(LONG)
    guest.wait_checkpointed(LONG)


def deletion(world: World) -> None:
    """That guest is deleted."""
    world.target.kubectl.run("delete", "streamjob", world.target.name, "--wait=false")


def started(world: World) -> None:
    """Checks that the guest completes with the right output, and can be deleted."""
    _completes(world)
    _delete(world)


def deleted(world: World) -> None:
    """Checks that only its state is left, and that a job of the same name continues from it to the right end."""
    guest = world.target
    _gone(guest)
    state, uid = _head(world)
    if state == "released":
        apply(world, FAST)
    else:
        events = [it["reason"] for it in guest.kubectl.objects("events.events.k8s.io") if it["regarding"].get("name") == guest.name]
        if "StateNotReleased" not in events:
            raise AssertionError(f"{guest.name} is deleted, HEAD says {state}, and no event says that it was not released: {events}")
        narrate.say(f"{guest.name} did not stop in time, and the operator said so; its state is taken over by hand")
        apply(world, FAST, {"annotations": {"streamkeeper.dev/take-over": uid}})
    _completes(world)
    _delete(world)


def _completes(world: World) -> None:
    """Waits until the guest has read all rows, and compares its output with them."""
    guest = world.target

    def look() -> bool | wait.Pending:
        # The coordinator knows it at once, the operator by the next time it asks; some time after that there is no coordinator.
        if guest.object().get("status", {}).get("phase") == "Completed":
            return True
        report = guest.report()
        return report["phase"] == "Completed" or wait.Pending(f"{report['phase']}: {report['error'] or report['records_in']}")

    wait.until(f"{guest.name} to complete", look, LONG, interval=0.5, retry=(*RETRY, KeyError))
    verdict = output.check(world.store, rows(), out=f"{guest.name}/")
    if not verdict.exact:
        raise AssertionError("\n".join([f"{guest.name}: {verdict}", *verdict.examples]))


def _delete(world: World) -> None:
    guest = world.target
    guest.kubectl.run("delete", "streamjob", guest.name, "--wait=false")
    _gone(guest)
    world.guest = None


def _gone(guest: Job) -> None:
    """Waits until the guest and all its children are gone."""

    def look() -> bool | wait.Pending:
        left = [f"streamjob {guest.name}"] if guest.kubectl.find("streamjob", guest.name) else []
        for kind in CHILDREN:
            left += [f"{kind} {it['metadata']['name']}" for it in guest.kubectl.objects(kind, f"streamkeeper.dev/job={guest.name}")]
        return wait.Pending(", ".join(left)) if left else True

    wait.until(f"everything of {guest.name} to be gone", look, LONG, interval=0.5, retry=RETRY)


def _head(world: World) -> tuple[str, str]:
    """Returns the state and the owner that HEAD names for the guest."""
    head = json.loads(world.store.get(s3.BUCKET, f"{load.STATE}/{world.job.namespace}/{world.target.name}/HEAD.json"))
    return head["state"]["is"], head["job_uid"]
