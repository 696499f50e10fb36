"""What an operator costs: its process, what it asks the API server for, how fast it notices an edit."""

import json
import os
import re
import subprocess
import time
import urllib.request
from pathlib import Path

from dev.bench_operator.cluster import NAMESPACE, STREAM_JOBS, client
from dev.bench_operator.coordinators import DEAF_S3, S3
from dev.lib import wait

OURS = {"streamjobs", "streamsnapshots", "pods", "statefulsets", "services", "configmaps", "controllerrevisions", "networkpolicies", "poddisruptionbudgets", "events", "nodes", "leases"}
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
PORT = 18080


class Operator:
    """The real program, from its start to its end."""

    def __init__(self, binary: Path, kubeconfig: Path, log: Path) -> None:
        master_key = log.with_name("master.key")
        master_key.write_bytes(b"bench" * 8)
        environment = {
            **os.environ, "KUBECONFIG": str(kubeconfig), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
            "STREAMKEEPER_STORAGE_URI": "s3://bench/state", "STREAMKEEPER_STORAGE_ENDPOINT": f"http://127.0.0.1:{S3}", "STREAMKEEPER_STORAGE_REGION": "us-east-1",
            "STREAMKEEPER_STORAGE_ALLOWED": json.dumps([{"endpoint": f"http://127.0.0.1:{DEAF_S3}", "bucket": "deaf", "prefix": "state"}]),
            "STREAMKEEPER_LISTEN": f"127.0.0.1:{PORT}", "STREAMKEEPER_LOG": "warn", "STREAMKEEPER_NAMESPACE": NAMESPACE,
            "STREAMKEEPER_TLS": "false", "STREAMKEEPER_MASTER_KEY_FILE": str(master_key),  # its coordinators speak no TLS
            "MIMALLOC_PURGE_DELAY": "0", "MIMALLOC_ARENA_EAGER_COMMIT": "0",  # as the chart sets them
        }
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(binary), "run", "--leader-elect"], env=environment, stdout=log.open("ab"), stderr=subprocess.STDOUT)

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the operator ended; see operator.log")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5) as answer:
                return answer.status == 200  # type: ignore[no-any-return]
        except OSError:
            return False

    def memory(self) -> dict[str, float]:
        """Resident MiB, now and at most."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(re.search(rf"{name}:\s+(\d+)", text).group(1)) / 1024 for name in ("VmRSS", "VmHWM")}  # type: ignore[union-attr]

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> float:
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - began


def requests() -> dict[tuple[str, str], int]:
    """Requests that the API server served so far, by verb and resource."""
    text = client().call("GET", "/metrics")[1].decode()
    counts: dict[tuple[str, str], int] = {}
    for line in text.splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if labels["resource"] in OURS and not (labels["resource"] == "leases" and labels["scope"] != "resource"):
            key = labels["verb"], labels["resource"]
            counts[key] = counts.get(key, 0) + int(float(line.rsplit(" ", 1)[1]))
    return counts


def settled(number: int) -> bool:
    """Whether job `number` is Ready and nothing is under way."""
    job = json.loads(client().call("GET", f"{STREAM_JOBS}/job-{number}")[1])
    status = job.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return ready and "transition" not in status and status.get("observedGeneration") == job["metadata"]["generation"]


def edit(number: int, hours: int) -> float:
    """Edits a field of one job that needs no new pods, so no transition follows. Returns the seconds until the status shows the edit."""
    path = f"{STREAM_JOBS}/job-{number}"
    began = time.monotonic()
    generation = client().done("PATCH", path, {"spec": {"ttlAfterCompletion": f"{hours}h"}})["metadata"]["generation"]

    def noticed() -> bool | wait.Pending:
        job = json.loads(client().call("GET", path)[1])
        seen = job.get("status", {}).get("observedGeneration")
        return seen == generation or wait.Pending(f"generation {seen} of {generation}")

    wait.until("the edit to be noticed", noticed, 60, interval=0.005)
    return time.monotonic() - began


def share(values: list[float], part: float) -> float:
    """A percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
