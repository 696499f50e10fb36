"""The Job API of every job and the HEAD records, by address: as much of them as an idle job needs."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field

JOB_API, S3, DEAF_S3 = 8081, 9000, 9001


class Progress:
    """Whether jobs take checkpoints: while `every` is 0 nothing about them changes."""

    def __init__(self) -> None:
        self.every = 0.0
        self._seconds = 0.0
        self._since = time.monotonic()

    def take(self, every: float) -> None:
        """From now on every so many seconds, or none."""
        self._seconds, self._since = self.seconds(), time.monotonic()
        self.every = every

    def seconds(self) -> float:
        """How long they were taken in all."""
        return self._seconds + (time.monotonic() - self._since if self.every else 0)


@dataclass
class Coordinator:
    """One job that runs nowhere."""

    namespace: str
    name: str
    uid: str
    revision: int
    progress: Progress
    every: float
    runs: bool = False
    since: int = 0
    before: float = 0
    operations: dict[str, dict] = field(default_factory=dict)

    def checkpoint(self) -> dict:
        later = int((self.progress.seconds() - self.before) / self.every) if self.every else 0
        done = self.since + int(later * self.every * 1000)
        return {"id": 1 + later, "completed_ms": done, "duration_ms": 5, "total_bytes": 1000, "manifest": f"chk/{1 + later}", "committed": True}

    def report(self) -> dict:
        return {
            "job_uid": self.uid, "revision": self.revision, "attempt": 1 if self.runs else None,
            "phase": "Running" if self.runs else "Standby", "parallelism": 1,
            "workers": [{"index": 0, "registered": True, "memory_bytes": 1 << 25}],
            "last_checkpoint": self.checkpoint() if self.runs else None,
            "checkpoint_failures": {"consecutive": 0, "last": None}, "restored_from": None, "restarts": 0, "last_failure": None,
            "pauses": [], "records_in": 100, "records_out": 100, "records_in_attempt": 100, "checkpoints_in_attempt": 1 if self.runs else 0,
            "error": None, "plan_hash": "p", "version": "0.1.0",
        }

    def head(self) -> dict:
        done = self.checkpoint()
        last = {"checkpoint": done["id"], "manifest": done["manifest"], "needs_commit": False, "committed": True, "completed_ms": done["completed_ms"],
                "written_bytes": 1000, "total_bytes": 1000, "duration_ms": 5}
        return {
            "v": 1, "min_reader": 1, "seq": 2, "nonce": "n", "lineage": "l", "job_uid": self.uid, "revision": self.revision, "attempt": 1, "token": "t",
            "state": {"is": "running"}, "plan_hash": "p", "max_parallelism": 128, "workers": 1, "next_checkpoint": done["id"] + 1, "last": last,
            "retained": [], "savepoints": [], "operations": [],
        }

    def answer(self, verb: str, path: str, body: bytes) -> tuple[int, dict]:
        if path == "/v1/report":
            return 200, self.report()
        if path.split("?")[0] == "/v1/preflight":
            return 200, {"verdict": "Compatible", "revision": self.revision, "message": "", "checked_against": None, "states": []}
        if verb == "POST" and path == "/v1/promote":
            key = json.loads(body)["key"]
            self.runs, self.since, self.before = True, int(time.time() * 1000), self.progress.seconds()
            self.operations[key] = {"key": key, "kind": "promote", "result": {"is": "done", "checkpoint": None, "uri": None}}
            return 202, self.operations[key]
        if path.startswith("/v1/operations/"):
            found = self.operations.get(path.removeprefix("/v1/operations/"))
            return (200, found) if found else (404, {"code": "NotFound", "message": path})
        return 400, {"code": "BadRequest", "message": f"{verb} {path} is not simulated"}


class Coordinators:
    """All of them, by the address they are asked at, in a thread of their own."""

    def __init__(self, every: float) -> None:
        self.progress, self.every = Progress(), every
        self.by_address: dict[str, Coordinator] = {}
        self.by_job: dict[tuple[str, str], Coordinator] = {}
        self.asked: set[str] = set()
        self.requests = {JOB_API: 0, S3: 0}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        # All of 127.0.0.0/8 is loopback: every job has an address of its own. This runs in a network of its own.
        for port in (JOB_API, S3):
            asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "0.0.0.0", port, backlog=4096), self._loop).result()

        asyncio.run_coroutine_threadsafe(asyncio.start_server(self._ignore, "0.0.0.0", DEAF_S3, backlog=4096), self._loop).result()

    async def _ignore(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reads what comes and says nothing."""
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    def add(self, address: str, coordinator: Coordinator) -> None:
        self.by_address[address] = coordinator
        self.by_job[coordinator.namespace, coordinator.name] = coordinator

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("sockname")
        try:
            while request := await reader.readline():
                verb, path, _ = request.decode().split(" ", 2)
                length = 0
                while (line := await reader.readline()).strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = await reader.readexactly(length)
                self.requests[port] += 1
                status, text = self._s3(path) if port == S3 else self._job(address, verb, path, body)
                head = f"HTTP/1.1 {status} .\r\ncontent-length: {len(text)}\r\ncontent-type: application/json\r\netag: \"e\"\r\n\r\n"
                writer.write(head.encode() + text)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _job(self, address: str, verb: str, path: str, body: bytes) -> tuple[int, bytes]:
        found = self.by_address.get(address)
        if not found:
            return 404, b"{}"
        if path == "/v1/report":
            self.asked.add(address)
        status, answer = found.answer(verb, path, body)
        return status, json.dumps(answer).encode()

    def _s3(self, path: str) -> tuple[int, bytes]:
        parts = path.split("?")[0].split("/")  # /bucket/prefix/namespace/name/HEAD.json
        found = self.by_job.get((parts[-3], parts[-2])) if parts[-1] == "HEAD.json" else None
        if found and found.runs:
            return 200, json.dumps(found.head()).encode()
        return 404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
