"""The victim and the attacker: two namespaces of one cluster, one operator, one bucket.

The attacker may do what a user with the role `edit` may do in his own namespace, and may write
to his own folder of the bucket. Nothing else is given to him.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dev.attack.attack import Succeeded, Undecided
from dev.demo import run, watch
from dev.demo.story import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.lib import wait
from dev.lib.cluster import Cluster
from dev.lib.kubectl import CommandFailed, Kubectl, Object, conditions
from dev.s3 import install as s3

PATIENCE = 120
"""Seconds until a condition must hold."""
OWN_KEY = "ATTACKERSOWN"
"""Access key of the attacker himself."""
API_VERSION = "streamkeeper.dev/v1alpha1"
ENDLESS = """SET 'streamkeeper.source.rows-per-second' = '200';
CREATE TABLE d (k INT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.k.min' = '0', 'fields.k.max' = '9');
CREATE TABLE o (k INT, rows_seen BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT k, COUNT(*) AS rows_seen FROM d GROUP BY k;
"""


@dataclass
class World:
    """What the attacks act on."""

    cluster: Cluster
    victim: Kubectl
    attacker: Kubectl
    victim_job: watch.Job

    @property
    def operator(self) -> Kubectl:
        """The operator's namespace, as its administrator sees it."""
        return self.cluster.kubectl.at(OPERATOR_NAMESPACE)

    def attacking_job(self, name: str, sql: str = ENDLESS, **spec: object) -> Object:
        """A StreamJob of the attacker."""
        return streamjob(name, sql, **spec)

    def refused_by_api(self, manifest: Object) -> str | None:
        """What the API server says against an object of the attacker; None when it accepts it."""
        try:
            self.attacker.run("apply", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))
        except CommandFailed as error:
            if "is invalid" in error.stderr or "strict decoding error" in error.stderr or "Forbidden" in error.stderr:
                return error.stderr.strip().splitlines()[-1]
            raise
        return None

    def stalled(self, kind: str, name: str, seconds: float = PATIENCE) -> tuple[str, str]:
        """Waits until an object of the attacker is Stalled; its reason and message."""

        def probe(found: Object) -> str | None:
            stalled = conditions(found).get("Stalled", {})
            return None if stalled.get("status") == "True" else json.dumps(found.get("status", "no status"))[:600]

        found = self.attacker.wait_for(f"{kind} {name} to be Stalled", kind, name, probe, seconds)
        stalled = conditions(found)["Stalled"]
        return stalled["reason"], stalled["message"]

    def objects_of_victim(self) -> dict[str, str]:
        """Every object of the victim's folder that a checkpoint may need, with its version."""
        return self.folder(f"state/{self.victim.namespace}/")

    def folder(self, prefix: str) -> dict[str, str]:
        """Every object below a prefix of the bucket, with its version."""
        with s3.connect(self.cluster) as server:
            return {entry.key: entry.etag for entry in server.client.entries(s3.BUCKET, prefix)}

    def put(self, key: str, body: bytes) -> None:
        """Writes one object into the bucket."""
        with s3.connect(self.cluster) as server:
            server.client.put(s3.BUCKET, key, body)

    def delete(self, key: str) -> None:
        """Deletes one object of the bucket."""
        with s3.connect(self.cluster) as server:
            server.client.delete(s3.BUCKET, key)

    @contextmanager
    def own_key(self) -> Iterator[None]:
        """A key of the attacker's own, which opens nothing of this store, for his job pods."""
        name = str(self.attacker.namespace)
        self.attacker.apply(s3.credentials(name, s3.SECRET, OWN_KEY, "x" * 40))
        try:
            yield
        finally:
            access, secret = s3.keys(self.cluster.kubectl)
            self.attacker.apply(s3.credentials(name, s3.SECRET, access, secret))

    def operator_pods(self) -> list[Object]:
        """The operator's pods that nothing has deleted."""
        pods = self.operator.objects("pods", OPERATOR_SELECTOR)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def operator_exits(self) -> set[str]:
        """The ends of the operator's containers that the cluster still knows: pod, time, and why."""
        exits = set()
        for pod in self.operator_pods():
            for container in pod["status"].get("containerStatuses", []):
                for state in (container["state"], container.get("lastState", {})):
                    if ended := state.get("terminated"):
                        words = ended.get("message", "").strip().splitlines()[-1:]
                        exits.add(" ".join([pod["metadata"]["name"], ended["finishedAt"], ended["reason"], f"exit code {ended['exitCode']}", *words]))
        return exits

    @contextmanager
    def operator_survives(self) -> Iterator[None]:
        """Raises `Succeeded` when a container of the operator ends meanwhile; then waits until the operator acts on an edit."""
        before = self.operator_exits()
        yield
        if ends := sorted(self.operator_exits() - before):
            raise Succeeded("the operator was restarted: " + "; ".join(ends))
        self.operator_works()

    def operator_works(self, seconds: float = PATIENCE) -> None:
        """Waits until the operator acts on a new edit of the victim's job."""
        mark = secrets.token_hex(4)
        self.victim.run("patch", "streamjob", "victim", "--type=merge", "-p", json.dumps({"spec": {"checkpoints": {"retain": 2 + int(mark, 16) % 8}}}))
        self.victim_job.wait("the operator to act on the victim's edit", watch.settled, seconds)

    def victim_unharmed(self) -> None:
        """Waits for one more checkpoint of the victim's job; raises when it does not come."""
        before = self.victim_job.report()
        self.victim_job.wait_checkpointed(PATIENCE)
        after = self.victim_job.report()
        if (before["attempt"], before["revision"]) != (after["attempt"], after["revision"]):
            raise AssertionError(f"the victim went from {before['revision'], before['attempt']} to {after['revision'], after['attempt']}")

    def cleared(self, kind: str, name: str) -> None:
        """Deletes an object of the attacker and waits until it is gone."""
        self.attacker.delete(kind, name)


def streamjob(name: str, sql: str, **spec: object) -> Object:
    """A StreamJob with a checkpoint each second."""
    spec.setdefault("checkpoints", {"interval": "1s"})
    return {"apiVersion": API_VERSION, "kind": "StreamJob", "metadata": {"name": name}, "spec": {"sql": {"text": sql}, **spec}}


def streamsnapshot(name: str, **spec: object) -> Object:
    """A StreamSnapshot."""
    return {"apiVersion": API_VERSION, "kind": "StreamSnapshot", "metadata": {"name": name}, "spec": spec}


def build(cluster: Cluster) -> World:
    """Installs the operator with the chart's defaults and starts the victim's job."""
    run.install_operator(cluster)
    suffix = secrets.token_hex(3)
    names = [f"victim-{suffix}", f"attacker-{suffix}"]
    access, secret = s3.keys(cluster.kubectl)
    for name in names:
        cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.kubectl.apply(s3.credentials(name, s3.SECRET, access, secret))
    victim, attacker = (cluster.kubectl.at(name) for name in names)
    victim.apply(streamjob("victim", ENDLESS, workers={"replicas": 2}))
    job = watch.Job(cluster, "victim", names[0])
    job.wait_settled(PATIENCE)
    job.wait_flowing(PATIENCE)
    job.wait_checkpointed(PATIENCE)
    world = World(cluster, victim, attacker, job)
    if not world.objects_of_victim():
        raise Undecided("the victim has no state in the bucket, so nothing could be taken from it")
    return world


def remove(world: World) -> None:
    """Removes both namespaces and what is in them."""
    for kubectl in (world.attacker, world.victim):
        for kind in ("streamsnapshots", "streamjobs"):
            kubectl.run("delete", kind, "--all", "--timeout=120s", timeout=150)
        kubectl.delete("namespace", str(kubectl.namespace))


def settle(seconds: float) -> None:
    """Lets an attack have its effect. The check behind it looks for harm, not for speed."""
    until = time.monotonic() + seconds
    wait.until("the attack to have had its time", lambda: time.monotonic() >= until or wait.Pending("waiting"), seconds + 5)
