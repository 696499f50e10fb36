"""Manifests and SQL that reach for what is not the user's."""

import json

from dev.attack.attack import Attack, Succeeded
from dev.attack.world import ENDLESS, World, streamjob
from dev.demo import watch
from dev.lib import wait
from dev.lib.kubectl import Object
from dev.s3 import install as s3


def refused(title: str, name: str, manifest: Object, *parts: str) -> "Attack[World]":
    """A StreamJob that must be refused with a sentence that contains all `parts`."""

    def play(world: World) -> str:
        said = world.refused_by_api(manifest)
        if said is None:
            reason, message = world.stalled("streamjob", name)
            said = f"{reason}: {message}"
            world.cleared("streamjob", name)
        missing = [part for part in parts if part not in said]
        if missing:
            raise Succeeded(f"refused without naming {missing}: {said}")
        return said

    return Attack(title, play)


def job(name: str, sql: str = ENDLESS, **spec: object) -> Object:
    """A StreamJob of the attacker."""
    return streamjob(name, sql, **spec)


def with_template(name: str, template: Object) -> Object:
    """A StreamJob with a pod template."""
    return job(name, workers={"podTemplate": template})


def sink(path: str) -> str:
    """SQL that writes to a path."""
    return ENDLESS.replace("('connector' = 'blackhole')", f"('connector' = 'filesystem', 'path' = '{path}', 'format' = 'debezium-json')")


def source(path: str) -> str:
    """SQL that reads a file line by line."""
    return (
        f"CREATE TABLE f (line STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'raw');\n"
        "CREATE TABLE o (line STRING) WITH ('connector' = 'print');\nINSERT INTO o SELECT line FROM f;\n"
    )


def policy_of_victim(world: World) -> str:
    """Who may reach the victim's pods where the network enforces policies?"""
    policies = world.victim.objects("networkpolicies.networking.k8s.io")
    mine = [p for p in policies if p["spec"]["podSelector"].get("matchLabels", {}).get("streamkeeper.dev/job") == "victim"]
    if not mine:
        raise Succeeded("no NetworkPolicy bounds the victim's pods")
    for rule in mine[0]["spec"]["ingress"]:
        ports = {port["port"] for port in rule.get("ports", [])}
        if not rule.get("from") and ports != {8082}:
            raise Succeeded(f"ports {ports} of the victim are open to every pod")
    return f"{mine[0]['metadata']['name']} lets in the job's own pods and the operator"


def policy_removed(world: World) -> str:
    """The victim's NetworkPolicy is removed; it comes back."""
    names = [p["metadata"]["name"] for p in world.victim.objects("networkpolicies.networking.k8s.io")]
    if not names:
        raise Succeeded("there is no NetworkPolicy")
    world.victim.delete("networkpolicy", names[0])
    wait.until("the NetworkPolicy to be back", lambda: world.victim.find("networkpolicy", names[0]) or wait.Pending("gone"), 60)
    return "the operator applies it again"


def secret_planted(world: World) -> str:
    """Secrets under the names of the job's own, made before the job is."""
    victims = [s["metadata"]["name"] for s in world.victim.objects("secrets") if s["metadata"]["name"].startswith("victim-")]
    if not victims:
        raise Succeeded("the victim's pods have no certificates")
    for name in victims:
        planted = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name.replace("victim-", "planted-", 1)}, "stringData": {"secret": json.dumps({"planted": True})}}
        world.attacker.apply(planted)
    world.attacker.apply(world.attacking_job("planted"))
    try:
        planted_job = watch.Job(world.cluster, "planted", str(world.attacker.namespace))
        used: list[str] = []

        def probe(found: Object) -> str | None:
            stalled = watch.condition(found, "Stalled")
            if stalled.get("status") == "True":
                used.append(f"{stalled['reason']}: {stalled['message']}")
                return None
            if watch.settled(found) is None:
                return None
            return str(found.get("status", {}).get("conditions"))[:400]

        planted_job.wait("the job to run or to say why not", probe, 120)
        if used:
            return used[0]
        volumes = world.attacker.get("pod", planted_job.pod())["spec"]["volumes"]
        mounted = {v["secret"]["secretName"] for v in volumes if "secret" in v}
        if mounted & {name.replace("victim-", "planted-", 1) for name in victims}:
            raise Succeeded(f"the pods use a planted Secret: {mounted}")
        return f"the pods use {', '.join(sorted(mounted))}, a name that cannot be guessed"
    finally:
        world.cleared("streamjob", "planted")


ATTACKS = [
    refused("${AWS_SECRET_ACCESS_KEY} in a table's path", "env", job("env", sink(f"s3://{s3.BUCKET}/${{AWS_SECRET_ACCESS_KEY}}/")), "AWS_SECRET_ACCESS_KEY"),
    refused("file:///proc/self/environ as a source", "proc", job("proc", source("file:///proc/self/environ")), "/proc/self/environ"),
    refused("a path that leaves the scratch directory", "dots", job("dots", source("file:///tmp/../proc/1/environ")), "proc/1/environ"),
    refused("memory in thousandths of a byte", "milli", job("milli", workers={"resources": {"limits": {"memory": "2048m"}}}), "2Gi", "2048Mi"),
    refused("a pod template that takes the worker's command", "command", with_template("command", {"spec": {"containers": [{"name": "streamjob", "command": ["/bin/sh"]}]}}), "command"),
    refused("a pod template with another service account", "account", with_template("account", {"spec": {"serviceAccountName": "default"}}), "serviceAccountName"),
    refused("a pod template with a field that no pod has", "typo", with_template("typo", {"spec": {"volumez": []}}), "volumez"),
    Attack("the victim's ports, by any pod of the network", policy_of_victim),
    Attack("the victim's NetworkPolicy, removed", policy_removed),
    Attack("Secrets planted under the names of a job's keys", secret_planted),
]
