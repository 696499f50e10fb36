"""Runs a case on a copy of its folder."""

import contextlib
import json
import os
import re
import select
import shutil
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dev.cases.case import BadCase, Case
from dev.cases.judge import Answer
from dev.lib.paths import ROOT

GENERATE_SECONDS = 120
SERVER_SECONDS = 30
READ = 1 << 16
LONGEST_OUTPUT = 64 << 20


class Reader(threading.Thread):
    """Reads a pipe to its end, and keeps so much of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.pipe = pipe
        self.read = bytearray()
        self.ended = False
        self.news = threading.Condition()
        self.start()

    def run(self) -> None:
        while chunk := os.read(self.pipe.fileno(), READ):
            with self.news:
                if len(self.read) < LONGEST_OUTPUT:
                    self.read += chunk
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def holds(self, pattern: str, seconds: float) -> bool:
        """Waits until what was read holds the pattern, for so long at most; whether it does."""
        wanted = re.compile(pattern.encode())
        with self.news:
            self.news.wait_for(lambda: self.ended or wanted.search(self.read), seconds)
            return wanted.search(self.read) is not None

    def text(self) -> str:
        return self.read.decode(errors="replace")


def answer(case: Case, binary: Path) -> Answer:
    """What the binary answers."""
    with tempfile.TemporaryDirectory(prefix="streamkeeper-case-") as scratch:
        copy = Path(scratch) / "case"
        shutil.copytree(case.folder, copy, symlinks=True)
        for folder in ("in", "out"):
            (copy / folder).mkdir(exist_ok=True)
        script(copy, "generate.py")
        with server(copy) as said:
            names = {"CASE": str(copy), "IN": str(copy / "in"), "OUT": str(copy / "out"), **said}
            command = [str(binary), case.verb, case.sql, *(filled(text, names) for text in case.arguments)]
            if case.verb == "run" and "--storage" not in case.arguments:
                command += ["--storage", str(Path(scratch) / "state")]
            env = {**os.environ, **names, **{name: filled(text, names) for name, text in case.env.items()}}
            process = subprocess.Popen(
                command, cwd=copy, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                return watch(case, process, copy)
            finally:
                if process.returncode is None:
                    process.kill()
                    process.wait()


def filled(text: str, names: dict[str, str]) -> str:
    """The text with `${NAME}` replaced."""
    return string.Template(text).safe_substitute(names)


def watch(case: Case, process: "subprocess.Popen[bytes]", copy: Path) -> Answer:
    assert process.stdout and process.stderr
    ends = time.monotonic() + case.deadline_s

    def left() -> float:
        return max(0.0, ends - time.monotonic())

    out, err = Reader(process.stdout), Reader(process.stderr)
    if (copy / "meanwhile.py").exists():
        come = err.holds(case.meanwhile, left()) if case.meanwhile else out.holds("\n", left())
        if come:
            script(copy, "meanwhile.py")
    ended = case.until is not None and err.holds(case.until, left())
    if ended:
        process.kill()
    code, max_rss_mib = end_of(process, left())
    for reader in (out, err):
        reader.join(5)
        reader.pipe.close()
    return Answer(code, out.text(), err.text(), ended, max_rss_mib)


def end_of(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[int | None, int]:
    """The exit code of a process, none if it is killed after so long, and the most memory it had, in MiB."""
    handle = os.pidfd_open(process.pid)
    try:
        came, _, _ = select.select([handle], [], [], max(seconds, 0.0))
    finally:
        os.close(handle)
    if not came:
        process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode if came else None, usage.ru_maxrss >> 10


@contextlib.contextmanager
def server(copy: Path) -> Iterator[dict[str, str]]:
    """What `server.py` of a case says, while it runs; nothing if there is none."""
    if not (copy / "server.py").exists():
        yield {}
        return
    with (copy / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "server.py"], cwd=copy, env=scripts_env(), stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout
    out = Reader(process.stdout)
    try:
        if not out.holds("\n", SERVER_SECONDS):
            raise BadCase(f"server.py said nothing: {(copy / 'server.log').read_text()[-500:].strip()}")
        yield json.loads(out.text().split("\n", 1)[0])
    finally:
        process.kill()
        process.wait()
        out.join(5)
        out.pipe.close()


def scripts_env() -> dict[str, str]:
    """Scripts of cases use `dev.cases.store`."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def script(copy: Path, name: str) -> None:
    """Runs a script of the case, if it has it."""
    if not (copy / name).exists():
        return
    try:
        done = subprocess.run(
            [sys.executable, name],
            cwd=copy,
            env=scripts_env(),
            capture_output=True,
            text=True,
            timeout=GENERATE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadCase(f"{name} did not end within {GENERATE_SECONDS} s") from error
    if done.returncode != 0:
        raise BadCase(f"{name} failed: {done.stderr.strip()[-500:]}")
