"""A proxy before an HTTP server. It passes everything on, at one rate for all connections, or returns 503 to all requests.

When the gate begins or stops to return 503, it cuts the open connections: requests in progress get no response, and the
client does not know whether the server carried them out.

"""

import asyncio
import socket
import threading
from dataclasses import dataclass
from typing import Self

CHUNK = 16 << 10
LONGEST_HEAD = 64 << 10
# What the kernel takes from a sender before the gate reads it. Without a bound it is some MiB a connection.
SOCKET_BUFFER = 64 << 10
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/xml\r\ncontent-length: %d\r\n\r\n%s"
    % (len(SLOW_DOWN), SLOW_DOWN)
)
BODILESS = ANSWER.removesuffix(SLOW_DOWN)


@dataclass
class Counts:
    """What came by since the gate was made."""

    passed: int = 0
    """Bytes, both ways."""
    refused: int = 0
    """Requests that were answered 503."""


class Pace:
    """One rate for all: who comes first goes first."""

    def __init__(self, rate: int | None = None) -> None:
        self.rate = rate
        self._free_at = 0.0

    def delay(self, now: float, size: int) -> float:
        """Seconds until so many bytes have passed that come at `now`."""
        if self.rate is None:
            return 0.0
        self._free_at = max(self._free_at, now) + size / self.rate
        return self._free_at - now


class Gate:
    """A gate on a free loopback port; `with Gate(host, port) as gate` opens it."""

    def __init__(self, host: str, port: int) -> None:
        self.counts = Counts()
        self._server = host, port
        self._pace = Pace()
        self._refuses = False
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def pass_on(self, rate: int | None = None) -> None:
        """Passes everything on, `rate` bytes a second in both directions of all connections together."""
        self._change(rate, False)

    def refuse(self) -> None:
        """Returns 503 to every request. The server does not see the requests."""
        self._change(None, True)

    def _change(self, rate: int | None, refuses: bool) -> None:
        async def change() -> None:
            cut = self._refuses != refuses
            self._pace, self._refuses = Pace(rate), refuses
            if cut:
                await self._cut()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    async def _listen(self) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        # Connections inherit the buffer of the socket that listens.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        self._listener = await asyncio.start_server(self._accept, sock=listener, limit=LONGEST_HEAD)
        port: int = listener.getsockname()[1]
        return port

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        await self._cut()

    async def _cut(self) -> None:
        doomed = [task for task in self._open if task is not asyncio.current_task()]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if self._refuses:
                await self._answer(reader, writer)
            else:
                await self._tunnel(reader, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # one side went away, or does not talk HTTP: the other side sees a connection that ends
        except asyncio.CancelledError:
            pass  # the gate changed: only the task that cut this one waits for it
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._server, limit=LONGEST_HEAD)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, up_writer))
                both.create_task(self._pump(up_reader, writer))
        except* OSError:
            pass  # as above
        finally:
            up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await asyncio.sleep(self._pace.delay(self._loop.time(), len(chunk)))
            self.counts.passed += len(chunk)
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            left, bounded = body_of(head)
            while left > 0 and (chunk := await reader.read(min(left, CHUNK))):
                left -= len(chunk)
            self.counts.refused += 1
            writer.write(BODILESS if head.startswith(b"HEAD ") else ANSWER)
            await writer.drain()
            if not bounded:
                return


def body_of(head: bytes) -> tuple[int, bool]:
    """Bytes of the body behind a request's head, and whether the request ends there."""
    headers = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    if b"transfer-encoding" in headers:
        return 0, False
    length = headers.get(b"content-length", b"0")
    return (int(length), True) if length.isdigit() else (0, False)

