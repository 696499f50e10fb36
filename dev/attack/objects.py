"""Objects that try to stop the operator for all tenants."""

import json

from dev.attack.attack import Attack, Succeeded, Undecided
from dev.attack.world import PATIENCE, World, streamsnapshot
from dev.lib import wait
from dev.lib.kubectl import Object

TOO_LONG = "9999999999h"
CRD = "streamjobs.streamkeeper.dev"


def unreadable_duration(world: World) -> str:
    """A duration that the schema of earlier versions accepts and no version can hold."""
    said = world.refused_by_api(world.attacking_job("poison", ttlAfterCompletion=TOO_LONG))
    if said is None:
        reason, message = world.stalled("streamjob", "poison")
        said = f"{reason}: {message}"
        world.cleared("streamjob", "poison")
    return said


def poison_in_etcd(world: World) -> str:
    """The same object, stored under an older CRD: present when the operator starts."""
    crd = world.cluster.kubectl.get("crd", CRD)
    open_schema: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [{**version, "schema": {"openAPIV3Schema": open_schema}} for version in crd["spec"]["versions"]]
    world.cluster.kubectl.run("patch", "crd", CRD, "--type=merge", "-p", json.dumps({"spec": {"versions": versions}}))
    poison = world.attacking_job("poison", ttlAfterCompletion=TOO_LONG)
    try:
        wait.until("the older CRD to be in force", lambda: world.refused_by_api(poison) is None or wait.Pending("still refused"), PATIENCE)
    finally:
        world.cluster.kubectl.run("patch", "crd", CRD, "--type=merge", "-p", json.dumps({"spec": {"versions": crd["spec"]["versions"]}}))
    if world.attacker.get("streamjob", "poison")["spec"]["ttlAfterCompletion"] != TOO_LONG:
        raise Undecided("the poison is not stored")
    world.operator.run("rollout", "restart", "deployment", "streamkeeper")
    try:
        world.operator.wait_rollout("deployment", "streamkeeper", PATIENCE)
        world.operator_works()
    except wait.Timeout as error:
        raise Succeeded(f"the operator does nothing for any tenant: {error}") from error
    reason, message = world.stalled("streamjob", "poison")
    if "ttlAfterCompletion" not in message:
        raise Succeeded(f"the operator does not name the field: {reason}: {message}")
    world.attacker.run("patch", "streamjob", "poison", "--type=merge", "-p", '{"spec":{"ttlAfterCompletion":"1h","suspend":true}}')
    world.cleared("streamjob", "poison")
    return f"{reason}: {message}"


def endless_metadata(world: World) -> str:
    """A metadata.json of 300 MiB in a folder of the attacker, imported by five objects at once."""
    folder = f"state/{world.attacker.namespace}/big/savepoints/endless"
    names = [f"endless-{number}" for number in range(5)]
    with world.operator_survives():
        world.put(f"{folder}/metadata.json", b" " * (300 << 20))
        for name in names:
            world.attacker.apply(streamsnapshot(name, importFrom={"uri": f"s3://streamkeeper/{folder}"}))
        told = [world.stalled("streamsnapshot", name) for name in names]
        for name in names:
            world.cleared("streamsnapshot", name)
    return f"{told[0][0]}: {told[0][1]}"


def endless_manifest(world: World) -> str:
    """A manifest.json of 60 MiB, read to its end by five imports and again by five removals at once."""
    folder = f"state/{world.attacker.namespace}/big/savepoints/wide"
    metadata = {
        "format": 1,
        "min_reader": 1,
        "job_uid": "00000000-0000-4000-8000-000000000000",
        "lineage": "00000000-0000-4000-8000-000000000000",
        "revision": 1,
        "checkpoint": 1,
        "completed_ms": 1,
        "plan_hash": "0",
        "max_parallelism": 128,
        "objects": 1,
        "total_bytes": 1,
    }
    operator = b'{"states":[]}'
    names = [f"wide-{number}" for number in range(5)]
    with world.operator_survives():
        world.put(f"{folder}/metadata.json", json.dumps(metadata).encode())
        world.put(f"{folder}/manifest.json", b'{"operators":[' + (operator + b",") * ((60 << 20) // (len(operator) + 1)) + operator + b"]}")
        world.attacker.apply(world.attacking_job("big", suspend=True))
        for name in names:
            world.attacker.apply(streamsnapshot(name, jobRef={"name": "big"}, importFrom={"uri": f"s3://streamkeeper/{folder}"}, deletionPolicy="Delete"))
        told = [world.stalled("streamsnapshot", name) for name in names]
        world.attacker.run("delete", "streamsnapshots", *names, "--wait=false")

        def tried() -> bool | wait.Pending:
            tries = [str(found.get("status", {})) for found in world.attacker.objects("streamsnapshots")]
            return all("could not be removed" in told for told in tries) or wait.Pending("; ".join(tries)[:300])

        wait.until("the operator to try to remove all of them", tried, PATIENCE)
        # The folder's owner deletes the damaged manifest, and the objects go.
        world.delete(f"{folder}/manifest.json")
        for name in names:
            world.cleared("streamsnapshot", name)
        world.cleared("streamjob", "big")
    return f"{told[0][0]}: {told[0][1]}"


ATTACKS = [
    Attack("a duration that no version can hold", unreadable_duration),
    Attack("the same object, stored by an older CRD before the operator starts", poison_in_etcd),
    Attack("five imports of a metadata.json of 300 MiB", endless_metadata),
    Attack("five imports of a manifest.json of 60 MiB, removed again", endless_manifest),
]
