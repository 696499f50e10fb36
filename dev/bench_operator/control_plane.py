"""etcd and kube-apiserver on loopback, processes of this one, stopped by their handles."""

import http.client
import json
import os
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

TOKEN = "bench"
ETCD, ETCD_PEER, API = 23790, 23800, 64430
SILENT = 60  # seconds
WATCH = 300  # seconds


class ControlPlane:
    """A fresh one in `state`."""

    def __init__(self, binaries: Path, state: Path) -> None:
        self.binaries, self.state = binaries, state
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        state = self.state
        (state / "tokens.csv").write_text(f"{TOKEN},bench,bench,system:masters\n")
        key = state / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        etcd = f"http://127.0.0.1:{ETCD}"
        self._run(
            "etcd",
            f"--data-dir={state / 'etcd'}", "--unsafe-no-fsync", "--log-level=error",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{ETCD_PEER}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{ETCD_PEER}",
            f"--initial-cluster=default=http://127.0.0.1:{ETCD_PEER}",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={API}",
            f"--cert-dir={state / 'certs'}", f"--token-auth-file={state / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount", "--service-account-issuer=https://bench",
            f"--service-account-signing-key-file={key}", f"--service-account-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/16", "--profiling=false",
        )
        self._wait()

    def _run(self, name: str, *arguments: str) -> None:
        log = (self.state / f"{name}.log").open("wb")
        self.processes.append(subprocess.Popen([str(self.binaries / name), *arguments], stdout=log, stderr=log))

    def _wait(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for process in self.processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args[0]} ended; see {self.state}/*.log")  # type: ignore[index]
            try:
                if Client().call("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"the API server is not ready; see {self.state}/kube-apiserver.log")

    def kubeconfig(self) -> Path:
        path = self.state / "kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": f"https://127.0.0.1:{API}", "insecure-skip-tls-verify": True}}],
            "users": [{"name": "bench", "user": {"token": TOKEN}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        }))
        return path

    def kubectl(self, *arguments: str) -> None:
        subprocess.run([str(self.binaries / "kubectl"), "--kubeconfig", str(self.kubeconfig()), *arguments], check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Client:
    """One connection to the API server; one thread each."""

    def __init__(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.connection = http.client.HTTPSConnection("127.0.0.1", API, context=context, timeout=WATCH + 30)
        self.used = time.monotonic()

    def request(self, verb: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        # The API server hangs up on who is silent for minutes; a closed connection is opened again.
        if time.monotonic() - self.used > SILENT:
            self.connection.close()
        self.used = time.monotonic()
        self.connection.request(verb, path, None if body is None else json.dumps(body), headers)
        return self.connection.getresponse()

    def call(self, verb: str, path: str, body: Any = None) -> tuple[int, bytes]:
        response = self.request(verb, path, body)
        return response.status, response.read()

    def done(self, verb: str, path: str, body: Any = None) -> dict[str, Any]:
        """Returns the object in the response of the API server. A refusal is an error."""
        for _ in range(60):
            status, answer = self.call(verb, path, body)
            if status != 429:
                break
            time.sleep(1)
        if status >= 300:
            raise RuntimeError(f"{verb} {path}: {status} {answer[:300]!r}")
        return json.loads(answer)  # type: ignore[no-any-return]

    def watch(self, path: str) -> "http.client.HTTPResponse":
        """Lines, one for each change in the next minutes, the objects that are there first."""
        return self.request("GET", f"{path}&watch=true&timeoutSeconds={WATCH}")


def binaries(cluster: Path) -> Path | None:
    """Where `make setup` put them, if it did."""
    found = [path.parent for path in cluster.glob("*/complete") if os.access(path.parent / "kube-apiserver", os.X_OK)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
