"""The processes of a job on loopback, started again as a kubelet does, and how much memory they take."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dev.slow_store.limit import Limit

Report = dict[str, Any]

# As the kubelet: the first start is at once, the second waits so long, and it doubles. A process that ran for long resets it.
BACK_OFF_SECONDS = 10.0
LONGEST_BACK_OFF_SECONDS = 300.0
LIVED_LONG_SECONDS = 600.0
API_SECONDS = 3.0
MEMORY = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)


class BackOff:
    """When a process that ended starts again."""

    def __init__(self) -> None:
        self.wait = 0.0

    def ended(self, lived: float) -> float:
        """Seconds from its end to its next start."""
        if lived >= LIVED_LONG_SECONDS:
            self.wait = 0.0
        now, self.wait = self.wait, min(max(self.wait * 2, BACK_OFF_SECONDS), LONGEST_BACK_OFF_SECONDS)
        return now


class Port:
    """A port on loopback that stays ours: bound, never listened on. A process may listen on it, because both say `SO_REUSEADDR`."""

    def __init__(self) -> None:
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._kept.getsockname()[1]}"

    def close(self) -> None:
        """Gives it back."""
        self._kept.close()


@dataclass(frozen=True)
class Job:
    """The settings of all its processes."""

    binary: Path
    sql: Path
    storage: str
    endpoint: str
    region: str
    checkpoint_interval: str
    environment: dict[str, str]
    """Credentials of the store."""


class Worker:
    """A worker's process, the one after it, and so on."""

    def __init__(self, job: Job, ordinal: int, limit: Limit, log: Path) -> None:
        self.job, self.ordinal, self.limit, self.log = job, ordinal, limit, log
        self.api, self.control, self.data = Port(), Port(), Port()
        self.restarts = 0
        self.highest = 0
        """Resident memory since `forget`, bytes."""
        self.ends: list[str] = []
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._back_off = BackOff()
        self._started = self._due = 0.0

    def start(self, coordinator: str, workers: int) -> None:
        """Starts its first process."""
        job = self.job
        flags = {
            "job-namespace": "test",
            "job-name": "job",
            "job-uid": "job",
            "pod-uid": f"pod-{self.ordinal}",
            "revision": "1",
            "ordinal": str(self.ordinal),
            "workers": str(workers),
            "storage-uri": job.storage,
            "endpoint": job.endpoint,
            "region": job.region,
            "sql-file": str(job.sql),
            "checkpoint-interval": job.checkpoint_interval,
            "coordinator": coordinator,
            "listen-api": self.api.address,
            "listen-control": self.control.address,
            "listen-data": self.data.address,
            "advertise-address": "127.0.0.1",
            "log-format": "text",
        }
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        node = [str(job.binary), "node", *(f"--{name}={value}" for name, value in flags.items())]
        self._command = [*self.limit.prefix(), *dies_with_us, *node]
        self._spawn()

    def _spawn(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMKEEPER_", "AWS_"))}
        environment = {**kept, "RUST_LOG": "info", "NO_COLOR": "1", **self.job.environment}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._started = time.monotonic()

    def tick(self) -> None:
        """Looks at its memory, and starts it again if it ended and its time has come."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self.restarts += 1
                self._spawn()
            return
        code = self._process.poll()
        if code is not None:
            self.ends.append(f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
            self._process = None
            self._due = now + self._back_off.ended(now - self._started)
            return
        _, highest = memory_of(self._process.pid)
        self.highest = max(self.highest, highest)
        self.limit.look(self._process.pid, highest)

    def forget(self) -> None:
        """Resets the highest memory."""
        self.highest = 0
        if self._process is None:
            return
        try:
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")
        except OSError:
            pass  # it has just ended, or the kernel does not let us: the peak of before counts again

    def stop(self) -> None:
        """Ends it for good."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.limit.remove()
        for port in (self.api, self.control, self.data):
            port.close()


class Crew:
    """All workers of the job; worker 0 has the coordinator."""

    def __init__(self, job: Job, limits: list[Limit], folder: Path) -> None:
        self.workers = [Worker(job, i, limit, folder / f"worker-{i}.log") for i, limit in enumerate(limits)]

    def __enter__(self) -> Self:
        for worker in self.workers:
            worker.start(self.workers[0].control.address, len(self.workers))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()

    def tick(self) -> None:
        """Does what a kubelet does; called all the time."""
        for worker in self.workers:
            worker.tick()

    @property
    def kills(self) -> int:
        """Processes that took more memory than they may."""
        return sum(worker.limit.kills() for worker in self.workers)

    @property
    def restarts(self) -> int:
        """Processes that were started again."""
        return sum(worker.restarts for worker in self.workers)

    def report(self) -> Report | None:
        """Returns the report of the coordinator; None if it does not answer."""
        return self._call("GET", "/v1/report")

    def promote(self) -> Report | None:
        """Lets the job begin, as the operator does; the operation, none when it was not accepted."""
        return self._call("POST", "/v1/promote", {"key": "promote-1", "revision": 1, "from": "Empty"})

    def _call(self, method: str, path: str, body: Report | None = None) -> Report | None:
        url = f"http://{self.workers[0].api.address}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:
                said: Report = json.loads(answer.read())
                return said
        except (OSError, ValueError, urllib.error.URLError):
            return None


def memory_of(pid: int) -> tuple[int, int]:
    """Resident memory of a process and its peak, bytes; zeros for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    said = {name: int(kib) << 10 for name, kib in MEMORY.findall(status)}
    return said.get("VmRSS", 0), said.get("VmHWM", 0)
