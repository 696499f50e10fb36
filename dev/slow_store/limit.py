"""The memory limit of a process, as a container has it: the kernel ends who takes more, and the process can read it.

As root and where the memory controller of cgroups is at hand, each process gets a cgroup of its own, which it sees where a
container sees its own. Elsewhere `Watched` looks at the process and ends it when it takes more.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Protocol

from dev.lib import wait

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")
# Joins the cgroup, shows it where a container shows its own, and becomes the process.
ENTER = 'echo $$ > "$0/cgroup.procs" && mount --bind "$0" "$1" && shift && exec "$@"'


class Limit(Protocol):
    """What bounds the memory of one process after the other."""

    kind: str
    tells: bool
    """Whether the process can read its limit."""

    def prefix(self) -> list[str]:
        """What stands before the command."""

    def look(self, pid: int, highest: int) -> None:
        """The process was seen with so much memory at most, bytes."""

    def kills(self) -> int:
        """Processes that were ended because they took more."""

    def remove(self) -> None:
        """Leaves nothing behind; no process is in it any more."""


class Cgroup:
    """A cgroup, of version 1 or 2."""

    tells = True

    def __init__(self, name: str, limit: int) -> None:
        version = 1 if (V1 / "memory.limit_in_bytes").exists() else 2
        self.kind = f"cgroup v{version}"
        self.seen_at = V1 if version == 1 else V2
        self.events = "memory.oom_control" if version == 1 else "memory.events"
        self.folder = self.seen_at / name
        self.folder.mkdir()
        try:
            (self.folder / ("memory.limit_in_bytes" if version == 1 else "memory.max")).write_text(str(limit))
            if version == 2 and (self.folder / "memory.swap.max").exists():
                (self.folder / "memory.swap.max").write_text("0")
            self.kills()
            subprocess.run([*self.prefix(), "true"], check=True, capture_output=True)
        except (OSError, subprocess.SubprocessError):
            self.remove()
            raise

    def prefix(self) -> list[str]:
        enter = ["unshare", "--mount", "--propagation", "private"]
        return [*enter, "sh", "-c", ENTER, str(self.folder), str(self.seen_at)]

    def look(self, pid: int, highest: int) -> None:
        pass

    def kills(self) -> int:
        return value_of((self.folder / self.events).read_text(), "oom_kill")

    def remove(self) -> None:
        def gone() -> bool:
            self.folder.rmdir()
            return True

        # The kernel takes a moment for a process that was waited for to leave its cgroup.
        wait.until(f"{self.folder} is empty", gone, 10, retry=(OSError,))


class Watched:
    """Only this tool watches the process."""

    kind = "watched"
    tells = False

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._killed: set[int] = set()

    def prefix(self) -> list[str]:
        return []

    def look(self, pid: int, highest: int) -> None:
        if highest > self.limit and pid not in self._killed:
            self._killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    def kills(self) -> int:
        return len(self._killed)

    def remove(self) -> None:
        pass


def limited(name: str, limit: int) -> Limit:
    """A limit of so many bytes."""
    try:
        return Cgroup(name, limit)
    except (OSError, subprocess.SubprocessError):
        return Watched(limit)


def value_of(text: str, name: str) -> int:
    """The number of a line `name number` of a file of cgroups; an `OSError` where no line says it."""
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        if word == name:
            return int(value)
    raise OSError(f"no {name} in {text!r}")
