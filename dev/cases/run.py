"""Runs a case on a copy of its folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from dev.cases.case import BadCase, Case
from dev.cases.judge import Answer

GENERATE_SECONDS = 120
READ = 1 << 16
LONGEST_OUTPUT = 64 << 20


class Reader(threading.Thread):
    """Reads a pipe to its end, and keeps so much of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.pipe = pipe
        self.read = bytearray()
        self.first_line = threading.Event()
        self.start()

    def run(self) -> None:
        while chunk := os.read(self.pipe.fileno(), READ):
            if len(self.read) < LONGEST_OUTPUT:
                self.read += chunk
            if b"\n" in chunk:
                self.first_line.set()
        self.first_line.set()

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
        command = [str(binary), case.verb, case.sql, *case.arguments]
        if case.verb == "run" and "--storage" not in case.arguments:
            command += ["--storage", str(Path(scratch) / "state")]
        env = {**os.environ, "CASE": str(copy), "IN": str(copy / "in"), "OUT": str(copy / "out"), **case.env}
        process = subprocess.Popen(
            command, cwd=copy, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            return watch(case, process, copy)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def watch(case: Case, process: "subprocess.Popen[bytes]", copy: Path) -> Answer:
    assert process.stdout and process.stderr
    ends = time.monotonic() + case.deadline_s
    out, err = Reader(process.stdout), Reader(process.stderr)
    if (copy / "meanwhile.py").exists() and out.first_line.wait(case.deadline_s):
        script(copy, "meanwhile.py")
    try:
        code = process.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        code = None
        process.kill()
        process.wait()
    for reader in (out, err):
        reader.join(5)
        reader.pipe.close()
    return Answer(code, out.text(), err.text())


def script(copy: Path, name: str) -> None:
    """Runs a script of the case, if it has it."""
    if not (copy / name).exists():
        return
    try:
        done = subprocess.run(
            [sys.executable, name], cwd=copy, capture_output=True, text=True, timeout=GENERATE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BadCase(f"{name} did not end within {GENERATE_SECONDS} s") from error
    if done.returncode != 0:
        raise BadCase(f"{name} failed: {done.stderr.strip()[-500:]}")
