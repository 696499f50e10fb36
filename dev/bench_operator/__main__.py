"""Measures what the operator costs with many jobs: start, memory, writes, latency of edits."""

import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dev.bench_operator import measure
from dev.bench_operator.cluster import DEAF, NAMESPACE, Cluster
from dev.bench_operator.control_plane import ControlPlane, binaries
from dev.bench_operator.coordinators import JOB_API, S3, Coordinators
from dev.lib import narrate, wait
from dev.lib.paths import CACHE, CARGO_TARGET, ROOT

COLUMNS = ("jobs", "checkpoints", "ready after", "all seen after", "RSS", "RSS at most", "CPU", "writes/s", "writes", "reads", "reports", "edit p50", "edit p99", "ended in")
WARM_UP = 100  # seconds: a newer checkpoint is written down once a minute, and seen twice a minute
INSIDE = "STREAMKEEPER_BENCH_INSIDE"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m dev.bench_operator", description=__doc__)
    parser.add_argument("--jobs", default="1000,5000", help="how many jobs, one measurement after the other")
    parser.add_argument("--idle", type=float, default=120, help="seconds without edits")
    parser.add_argument("--edits", type=int, default=200, help="edits of single jobs, one after the other")
    parser.add_argument("--checkpoints", type=float, default=10, help="seconds between the checkpoints of a job, measured beside jobs that take none; 0: only jobs that take none")
    parser.add_argument("--deaf", type=int, default=0, help="jobs in a namespace of their own whose store takes connections and never answers, beside all others")
    parser.add_argument("--profile", default="dev", help="Cargo profile of the operator")
    options = parser.parse_args()
    found = binaries(Path(os.environ.get("CLUSTER_CACHE") or CACHE / "cluster"))
    # The target that .cargo/config.toml names.
    folder = "debug" if options.profile == "dev" else options.profile
    operator = CARGO_TARGET / f"{platform.machine()}-unknown-linux-gnu" / folder / "streamkeeper"
    if not found or not operator.exists():
        print(f"needs {'the binaries of the local cluster (make setup)' if not found else operator}", file=sys.stderr)
        return 2
    if INSIDE not in os.environ:
        # A network of its own: nothing is reached from outside, and no port is taken.
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", "--", sys.executable, "-u", "-m", "dev.bench_operator", *sys.argv[1:]])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    state = Path(tempfile.mkdtemp(prefix="bench-operator-"))
    plane = ControlPlane(found, state)
    try:
        bench(plane, operator, [int(count) for count in options.jobs.split(",")], options.idle, options.edits, options.checkpoints, options.deaf)
        shutil.rmtree(state)
        return 0
    except Exception as error:
        print(f"{type(error).__name__}: {error}\nlogs are in {state}", file=sys.stderr)
        return 1
    finally:
        plane.stop()


def bench(plane: ControlPlane, binary: Path, counts: list[int], idle: float, edits: int, every: float, deaf: int) -> None:
    with narrate.Step("API server and etcd", usually="10 s"):
        plane.start()
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        plane.kubectl("create", "namespace", NAMESPACE)
        plane.kubectl("create", "namespace", DEAF)
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    coordinators = Coordinators(every)
    cluster = Cluster(coordinators)
    if deaf:
        with narrate.Step(f"{deaf} jobs whose store is deaf"):
            cluster.create_jobs(0, deaf, DEAF)
    rows, made = [], 0
    for count in counts:
        operator = measure.Operator(binary, plane.kubeconfig(), plane.state / "operator.log")
        try:
            with narrate.Step(f"{count} jobs, from nothing to Ready", usually="1 min for each 1,000") as step:
                cluster.create_jobs(made, count - made)
                wait.until("every job to run", lambda: all_run(cluster, count), 3600, interval=2, on_pending=step.update)
                wait.until("the last of them to be Ready", lambda: ready(count), 600, interval=2, on_pending=step.update)
                settle()
                step.result(f"{(time.monotonic() - step.started) / count * 1000:.0f} ms each, operator at most {operator.memory()['VmHWM']:.0f} MiB")
            made = count
        finally:
            operator.stop()
        for taken in (0.0, every) if every else (0.0,):
            coordinators.progress.take(taken)
            rows.append(one(plane, binary, coordinators, count, idle, edits))
            coordinators.progress.take(0)
            print()
            narrate.table(COLUMNS, rows)
    print("  writes, reads and reports (questions to coordinators) per job and minute without edits; the Lease is not counted")


def all_run(cluster: Cluster, count: int) -> bool | wait.Pending:
    if cluster.broken:
        raise RuntimeError(f"no more pods are made: {cluster.broken!r}")
    running = sum(job.runs for job in list(cluster.coordinators.by_address.values()))
    return running >= count or wait.Pending(f"{running} of {count} run")


def ready(count: int) -> bool | wait.Pending:
    sample = random.Random(count).sample(range(count), min(count, 50))
    late = [number for number in sample if not measure.settled(number)]
    return not late or wait.Pending(f"{len(late)} of {len(sample)} looked at are not")


def settle() -> None:
    """Until nothing is written any more."""
    before = -1
    while before != (before := sum(writes().values())):
        time.sleep(5)


def writes() -> dict[tuple[str, str], int]:
    return {key: count for key, count in measure.requests().items() if key[0] in measure.WRITES and key[1] != "leases"}


def one(plane: ControlPlane, binary: Path, coordinators: Coordinators, count: int, idle: float, edits: int) -> tuple[str, ...]:
    """A fresh operator over jobs that are all as they should be."""
    every = coordinators.progress.every
    with narrate.Step(f"{count} jobs{f', a checkpoint every {every:g} s' if every else ''}: an operator starts") as step:
        coordinators.asked.clear()
        operator = measure.Operator(binary, plane.kubeconfig(), plane.state / "operator.log")
        wait.until("readiness", lambda: operator.is_ready() or wait.Pending("not ready"), 300, interval=0.05)
        ready_after = time.monotonic() - operator.started
        seen = lambda: len(coordinators.asked) >= count or wait.Pending(f"{len(coordinators.asked)} of {count} looked at")  # noqa: E731
        wait.until("every job to be looked at", seen, 600, interval=0.1, on_pending=step.update)
        seen_after = time.monotonic() - operator.started
    try:
        with narrate.Step(f"{count} jobs: no edits", usually=f"{idle:.0f} s"):
            if every:
                time.sleep(WARM_UP)
            else:
                settle()
            before, cpu, reports = measure.requests(), operator.cpu(), coordinators.requests[JOB_API] + coordinators.requests[S3]
            time.sleep(idle)
            after, cpu = measure.requests(), operator.cpu() - cpu
            reports = coordinators.requests[JOB_API] + coordinators.requests[S3] - reports
            memory = operator.memory()
        per_minute = count * idle / 60
        changed = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0) and key[1] != "leases"}
        wrote = sum(number for (verb, _), number in changed.items() if verb in measure.WRITES)
        read = sum(number for (verb, _), number in changed.items() if verb == "GET")
        if wrote:
            narrate.say(f"written: {changed}")
        with narrate.Step(f"{count} jobs: {edits} edits, one after the other"):
            dice = random.Random(count)
            times = [measure.edit(dice.randrange(count), 1 + n) for n in range(edits)]
    finally:
        ended = operator.stop()
    return (
        f"{count}", f"every {every:g} s" if every else "none", f"{ready_after:.1f} s", f"{seen_after:.1f} s", f"{memory['VmRSS']:.0f} MiB", f"{memory['VmHWM']:.0f} MiB", f"{cpu / idle * 100:.1f} %",
        f"{wrote / idle:.1f}", f"{wrote / per_minute:.3f}", f"{read / per_minute:.3f}", f"{reports / per_minute:.2f}",
        f"{measure.share(times, 0.5) * 1000:.0f} ms", f"{measure.share(times, 0.99) * 1000:.0f} ms", f"{ended:.1f} s",
    )


if __name__ == "__main__":
    sys.exit(main())
