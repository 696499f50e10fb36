"""Objects that are meant to stop the operator for everybody."""

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
        raise Succeeded(f"the operator does nothing for anybody: {error}") from error
    reason, message = world.stalled("streamjob", "poison")
    if "ttlAfterCompletion" not in message:
        raise Succeeded(f"the operator does not name the field: {reason}: {message}")
    world.attacker.run("patch", "streamjob", "poison", "--type=merge", "-p", '{"spec":{"ttlAfterCompletion":"1h","suspend":true}}')
    world.cleared("streamjob", "poison")
    return f"{reason}: {message}"


def endless_metadata(world: World) -> str:
    """A metadata.json of 300 MiB in a folder of the attacker, imported by five objects at once."""
    restarts, folder = world.operator_restarts(), f"state/{world.attacker.namespace}/big/savepoints/endless"
    world.put(f"{folder}/metadata.json", b" " * (300 << 20))
    names = [f"endless-{number}" for number in range(5)]
    for name in names:
        world.attacker.apply(streamsnapshot(name, importFrom={"uri": f"s3://streamkeeper/{folder}"}))
    told = [world.stalled("streamsnapshot", name) for name in names]
    for name in names:
        world.cleared("streamsnapshot", name)
    if world.operator_restarts() != restarts:
        raise Succeeded("the operator ran out of memory and was restarted")
    world.operator_works()
    return f"{told[0][0]}: {told[0][1]}"


ATTACKS = [
    Attack("a duration that no version can hold", unreadable_duration),
    Attack("the same object, stored by an older CRD before the operator starts", poison_in_etcd),
    Attack("five imports of a metadata.json of 300 MiB", endless_metadata),
]
