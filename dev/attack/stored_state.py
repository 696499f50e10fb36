"""Attacks on the state of another tenant, through objects that make the operator write or delete."""

from dev.attack.attack import Attack, Succeeded, Undecided
from dev.attack.world import World, settle, streamsnapshot
from dev.s3 import install as s3


def lost(world: World, before: dict[str, str], also_gone: str = "") -> None:
    """Raises `Succeeded` when the victim's HEAD, or most of what it had, was removed."""
    after = world.objects_of_victim()
    head = f"state/{world.victim.namespace}/victim/HEAD.json"
    if head in before and head not in after:
        raise Succeeded(f"HEAD.json of the victim is gone{also_gone}")
    if not after:
        raise Succeeded(f"{len(before)} objects of the victim are gone{also_gone}")
    world.victim_unharmed()


def delete_by_import(world: World) -> str:
    """An import of the victim's live folder that is to be removed with the object."""
    before = world.objects_of_victim()
    uri = f"s3://{s3.BUCKET}/state/{world.victim.namespace}/victim"
    manifest = streamsnapshot("grab", importFrom={"uri": uri}, deletionPolicy="Delete")
    said = world.refused_by_api(manifest)
    if said is None:
        settle(10)
        world.cleared("streamsnapshot", "grab")
        settle(5)
        lost(world, before)
        return "accepted, but the operator removed nothing of the victim"
    lost(world, before)
    return said


def import_foreign_state(world: World) -> str:
    """An import of the victim's live folder, kept: is the victim's state readable through it?"""
    before = world.objects_of_victim()
    uri = f"s3://{s3.BUCKET}/state/{world.victim.namespace}/victim"
    said = world.refused_by_api(streamsnapshot("peek", importFrom={"uri": uri}))
    if said is None:
        reason, said = world.stalled("streamsnapshot", "peek")
        said = f"{reason}: {said}"
        world.cleared("streamsnapshot", "peek")
    lost(world, before)
    return said


def restore_foreign_state(world: World) -> str:
    """Starts a job of the attacker, with the attacker's own key, from a savepoint of the victim. No process may read it for the attacker."""
    world.victim.apply(streamsnapshot("nightly", jobRef={"name": "victim"}))
    world.victim.wait_condition("streamsnapshot", "nightly", "Ready", seconds=60)
    uri = world.victim.get("streamsnapshot", "nightly")["status"]["uri"]
    with world.own_key():
        world.attacker.apply(world.attacking_job("thief", restoreFrom={"uri": uri}))
        reason, said = world.stalled("streamjob", "thief")
        world.cleared("streamjob", "thief")
    world.victim.delete("streamsnapshot", "nightly")
    if reason not in ("StorageAccessDenied", "SnapshotNotFound"):
        raise Undecided(f"{reason}: {said}")
    return f"{reason}: {said}"


ATTACKS = [
    Attack("a StreamSnapshot that imports the victim's live state and deletes it", delete_by_import),
    Attack("a StreamSnapshot that imports the victim's live state", import_foreign_state),
    Attack("a StreamJob that starts from a folder of the victim", restore_foreign_state),
]
