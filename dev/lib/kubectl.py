"""Kubernetes by its command line: run, read as JSON, apply from a string, wait, forward a port."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.lib import wait

Object = dict[str, Any]


class CommandFailed(Exception):
    """A command ended with an error. `stderr` is what it said."""

    def __init__(self, command: list[str], code: int, stderr: str) -> None:
        super().__init__(f"`{' '.join(command)}` ended with {code}: {stderr.strip()[-2000:]}")
        self.stderr = stderr

    @property
    def not_found(self) -> bool:
        """The API server knows no such object."""
        return "(NotFound)" in self.stderr


@dataclass(frozen=True)
class Kubectl:
    """kubectl (and Helm) bound to one cluster. `namespace=None` means the context's own."""

    kubeconfig: Path
    binary: str = "kubectl"
    helm_binary: str = "helm"
    namespace: str | None = field(default=None)

    def at(self, namespace: str) -> "Kubectl":
        """The same cluster, another namespace."""
        return Kubectl(self.kubeconfig, self.binary, self.helm_binary, namespace)

    def command(self, *args: str) -> list[str]:
        """The full command line, for a caller that runs it itself."""
        scope = ["--namespace", self.namespace] if self.namespace else []
        return [self.binary, "--kubeconfig", str(self.kubeconfig), *scope, *args]

    def run(self, *args: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return its standard output. Raises `CommandFailed`."""
        return command(self.command(*args), stdin, timeout)

    def helm(self, *args: str, timeout: float = 300) -> str:
        """Run Helm against the same cluster and namespace."""
        scope = ["--namespace", self.namespace] if self.namespace else []
        return command([self.helm_binary, "--kubeconfig", str(self.kubeconfig), *scope, *args], None, timeout)

    def apply(self, *manifests: str | Object) -> str:
        """Apply YAML text or objects, server-side, as one field manager. Returns what changed."""
        text = "\n---\n".join(m if isinstance(m, str) else json.dumps(m) for m in manifests)
        return self.run("apply", "--server-side", "--force-conflicts", "--field-manager=streamkeeper-dev", "-f", "-", stdin=text)

    def get(self, kind: str, name: str) -> Object:
        """One object. Raises `CommandFailed` (`.not_found`) when it is not there."""
        found: Object = json.loads(self.run("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> Object | None:
        """One object, or None when it is not there."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def objects(self, kind: str, selector: str = "", *, everywhere: bool = False) -> list[Object]:
        """All objects of a kind that carry the labels of `selector` (`a=b,c`)."""
        scope = (["-l", selector] if selector else []) + (["-A"] if everywhere else [])
        found: list[Object] = json.loads(self.run("get", kind, *scope, "-o", "json"))["items"]
        return found

    def delete(self, kind: str, name: str, *args: str) -> None:
        """Delete one object and wait until it is gone; fine when it is not there."""
        self.run("delete", kind, name, "--ignore-not-found", *args, timeout=300)

    def delete_pod_by_force(self, name: str) -> bool:
        """Deletes a pod at once and does not wait. Returns whether it existed: the operator may already have deleted it, as after the loss of its node."""
        return "deleted" in self.run("delete", "pod", name, "--grace-period=0", "--force", "--wait=false", "--ignore-not-found")

    def wait_for(
        self,
        what: str,
        kind: str,
        name: str,
        probe: Callable[[Object], str | None],
        seconds: float,
        on_pending: Callable[[str], None] | None = None,
    ) -> Object:
        """Polls one object until `probe(object)` returns None. Until then the probe returns what it sees.

        Returns the object. Raises `wait.Timeout` with what was seen last. An absent object and a
        cluster that does not answer are pending.
        """

        def look() -> Object | wait.Pending:
            found = self.find(kind, name)
            if found is None:
                return wait.Pending(f"no {kind} {name}")
            seen = probe(found)
            return found if seen is None else wait.Pending(seen)

        retry = (CommandFailed, subprocess.TimeoutExpired)
        return wait.until(what, look, seconds, interval=0.5, retry=retry, on_pending=on_pending)

    def wait_condition(self, kind: str, name: str, condition: str, status: str = "True", seconds: float = 60) -> Object:
        """Wait until a condition has a status; the message on failure shows all conditions."""
        return self.wait_for(
            f"{kind} {name} to be {condition}={status}", kind, name, lambda o: _condition(o, condition, status), seconds
        )

    def wait_rollout(
        self, kind: str, name: str, seconds: float = 120, on_pending: Callable[[str], None] | None = None
    ) -> Object:
        """Wait until a Deployment or StatefulSet runs its newest generation, all replicas ready.

        The message on failure says what its pods are waiting for.
        """

        def probe(found: Object) -> str | None:
            seen = _rolled_out(found)
            if seen is None:
                return None
            labels = ",".join(f"{k}={v}" for k, v in found["spec"]["selector"]["matchLabels"].items())
            return "; ".join([seen, *(pod_summary(pod) for pod in self.objects("pods", labels))])

        return self.wait_for(f"{kind} {name} to be ready", kind, name, probe, seconds, on_pending)

    @contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[str]:
        """`host:port` on this host's loopback that leads to `target` (`svc/x`, `pod/y`)."""
        command = self.command("port-forward", "--address", "127.0.0.1", target, f":{port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                first = process.stdout.readline() if process.stdout else ""
                match = re.search(r"127\.0\.0\.1:(\d+) ->", first)
                if not match:
                    process.terminate()
                    rest = process.stdout.read() if process.stdout else ""
                    raise CommandFailed(command, process.wait(), first + rest)
                yield f"127.0.0.1:{match[1]}"
            finally:
                process.terminate()


def conditions(found: Object) -> dict[str, Object]:
    """An object's status conditions by type."""
    return {c["type"]: c for c in found.get("status", {}).get("conditions", [])}


def pod_summary(pod: Object) -> str:
    """`name on n1: Running, 0/1 ready, 2 restarts, ImagePullBackOff (why)` in one line."""
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    parts = [status.get("phase", "Unknown"), f"{sum(c['ready'] for c in containers)}/{len(pod['spec']['containers'])} ready"]
    if restarts := sum(c["restartCount"] for c in containers):
        parts.append(f"{restarts} restarts")
    for container in containers:
        state = {**container.get("lastState", {}), **container.get("state", {})}
        for why in (state.get("waiting"), state.get("terminated")):
            if why:
                parts.append(f"{why.get('reason', '')} ({why.get('message') or why.get('exitCode', '')})")
    if not containers:
        parts += [c["message"] for c in status.get("conditions", []) if c["status"] != "True" and "message" in c]
    if "deletionTimestamp" in pod["metadata"]:
        parts.append("terminating")
    return f"{pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {', '.join(parts)}"


def _condition(found: Object, condition: str, status: str) -> str | None:
    have = conditions(found)
    if have.get(condition, {}).get("status") == status:
        return None
    shown = [f"{c['type']}={c['status']} {c.get('reason', '')}: {c.get('message', '')}" for c in have.values()]
    return "; ".join(shown) or "no conditions yet"


def _rolled_out(found: Object) -> str | None:
    status = found.get("status", {})
    wanted = found["spec"].get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return "the newest generation is not observed yet"
    if ready == updated == status.get("replicas", 0) == wanted:
        return None
    return f"{ready} of {wanted} ready, {updated} updated, {status.get('replicas', 0)} there"


def command(arguments: list[str], stdin: str | None = None, timeout: float | None = None) -> str:
    """Run any command and return its standard output; what it says goes into `CommandFailed`."""
    # No input is an empty one: a command must not wait for the terminal.
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False, input=stdin or "")
    if done.returncode:
        raise CommandFailed(arguments, done.returncode, done.stderr or done.stdout)
    return done.stdout
