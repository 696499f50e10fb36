"""The phases of a run, what is measured in each, and the verdict."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from dev.lib import ledger, narrate, seaweed, wait
from dev.lib.s3 import S3Error
from dev.slow_store import output
from dev.slow_store.gate import Gate
from dev.slow_store.limit import limited
from dev.slow_store.workers import Crew, Job, Report

MIB = 1 << 20
HEAD = "state/test/job/HEAD.json"
OUT = "out/copies"
TICK_SECONDS = 0.25
ASKED_EVERY_SECONDS = 1.0
START_SECONDS = 120.0
# A machine may be so busy that the store of the job does not answer at once.
HEAD_SECONDS = 5.0
HEAD_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Plan:
    """What is run."""

    binary: Path
    rows: int = 2_000_000
    workers: int = 2
    limit: int = 512 * MIB
    """Of a worker's memory, bytes."""
    rate: int = MIB
    """Bytes a second in the first phase."""
    slow_seconds: float = 300
    outage_seconds: float = 600
    patience: float = 900
    """Seconds within which the job completes once the store works again."""
    checkpoint_interval: str = "10s"


class Rising:
    """The sum of a number that only grows, but restarts from zero with another process or attempt."""

    def __init__(self) -> None:
        self.sum = 0
        self._last = 0

    def saw(self, value: int) -> None:
        """It is this much now."""
        self.sum += value - self._last if value >= self._last else value
        self._last = value


@dataclass
class Phase:
    """What was measured while the store was so."""

    store: str
    seconds: float = 0
    checkpoints: int = 0
    job_restarts: int = 0
    process_restarts: int = 0
    passed: int = 0
    refused: int = 0
    read: int = 0
    """Rows at its end."""
    highest: list[int] = field(default_factory=list)
    """Memory of each worker, bytes."""

    def cells(self) -> list[str]:
        """A row of the table."""
        memory = [f"{highest / MIB:.0f} MiB" for highest in self.highest]
        counted = (self.checkpoints, self.job_restarts, self.process_restarts)
        return [self.store, f"{self.seconds:.0f}", *map(str, counted), f"{self.passed / MIB:.0f}", str(self.refused), str(self.read), *memory]


@dataclass
class Outcome:
    """What a run came to."""

    phases: list[Phase]
    limit: int
    against: list[str]
    """Why the claim does not hold, before the ledger."""
    verdict: ledger.Verdict | None = None

    def wrong(self) -> list[str]:
        """Why the claim does not hold; nothing if it does."""
        found = list(self.against)
        for phase in self.phases:
            for ordinal, highest in enumerate(phase.highest):
                if highest >= self.limit:
                    found.append(f"worker {ordinal} had {highest / MIB:.0f} MiB while the store was '{phase.store}', its limit is {self.limit / MIB:.0f}")
        if self.verdict is None:
            found.append("there is no ledger")
        elif not self.verdict.exact:
            found.extend([str(self.verdict), *self.verdict.examples])
        return found

    def tell(self) -> None:
        """Prints all of it."""
        workers = range(max((len(phase.highest) for phase in self.phases), default=0))
        headers = ["store", "s", "checkpoints", "job restarts", "process restarts", "MiB passed", "503s", "rows read"]
        narrate.table([*headers, *(f"worker {i}" for i in workers)], [phase.cells() for phase in self.phases])
        print(self.verdict or "no ledger")
        for line in self.wrong():
            print(f"  {narrate.paint('wrong', '31')}: {line}")


class Failed(Exception):
    """The claim does not hold, and nothing more would be learned."""


class Run:
    """A job behind a gate, while it runs."""

    def __init__(self, plan: Plan, server: seaweed.Server, gate: Gate, crew: Crew) -> None:
        self.plan, self.server, self.gate, self.crew = plan, server, gate, crew
        self.phases: list[Phase] = []
        self.checkpoints, self.job_restarts = Rising(), Rising()
        self.report: Report = {}
        self._asked = 0.0

    def look(self) -> None:
        """Tends to the processes and to what is measured."""
        self.crew.tick()
        if self.crew.kills:
            ends = [f"worker {w.ordinal}: {', '.join(w.ends)}" for w in self.crew.workers if w.ends]
            raise Failed(f"a worker was ended because it took more than {self.plan.limit // MIB} MiB ({'; '.join(ends)})")
        if time.monotonic() - self._asked < ASKED_EVERY_SECONDS:
            return
        report = self.crew.report()
        self._asked = time.monotonic()
        if report is not None:
            self.report = report
            self.checkpoints.saw(report["checkpoints_in_attempt"])
            self.job_restarts.saw(report["restarts"])

    def completed(self) -> bool | wait.Pending:
        """Whether HEAD says that all was read and committed; pending while it cannot be read. It is read past the gate."""
        try:
            head = json.loads(replace(self.server.client, timeout=HEAD_SECONDS).get(self.server.bucket, HEAD))
        except S3Error as error:
            return False if error.status == 404 else wait.Pending(str(error))
        return bool(head["state"]["is"] == "completed")

    def begin(self) -> None:
        """Has the job promoted."""

        def promoted() -> bool | wait.Pending:
            self.look()
            return self.crew.promote() is not None or wait.Pending(brief(self.report))

        with narrate.Step("the job begins, its store is slow") as step:
            wait.until("the promotion of the job", promoted, START_SECONDS, on_pending=step.update)

    @contextmanager
    def phase(self, title: str) -> Iterator[tuple[Phase, narrate.Step]]:
        """Measures what happens inside."""
        phase = Phase(title)
        self.phases.append(phase)
        for worker in self.crew.workers:
            worker.forget()
        before = self._counts()
        began = time.monotonic()
        try:
            with narrate.Step(f"store: {title}") as step:
                yield phase, step
                step.result(self.brief())
        finally:
            phase.seconds = time.monotonic() - began
            counted = [after - earlier for after, earlier in zip(self._counts(), before, strict=True)]
            phase.checkpoints, phase.job_restarts, phase.process_restarts, phase.passed, phase.refused = counted
            phase.read = self.report.get("records_in", 0)
            phase.highest = [worker.highest for worker in self.crew.workers]

    def _counts(self) -> list[int]:
        counts = self.gate.counts
        return [self.checkpoints.sum, self.job_restarts.sum, self.crew.restarts, counts.passed, counts.refused]

    def lasts(self, title: str, seconds: float) -> None:
        """A phase of so many seconds, in which the job does not complete."""
        with self.phase(title) as (_, step):
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                self.look()
                step.update(self.brief())
                time.sleep(TICK_SECONDS)

        def known() -> bool | wait.Pending:
            self.look()
            return self.completed()

        if wait.until("HEAD can be read", known, HEAD_PATIENCE_SECONDS):
            raise Failed(f"the job completed while the store was still '{title}': it needs more --rows to say anything")

    def until_completed(self, title: str) -> None:
        """The phase in which the job completes."""

        def done() -> bool | wait.Pending:
            self.look()
            return self.completed() is True or wait.Pending(self.brief())

        with self.phase(title) as (_, step):
            try:
                wait.until("the end of the job", done, self.plan.patience, interval=ASKED_EVERY_SECONDS, on_pending=step.update)
            except wait.Timeout as late:
                raise Failed(str(late)) from late
            self.look()

    def brief(self) -> str:
        """How it is, in a line."""
        memory = "/".join(f"{worker.highest / MIB:.0f}" for worker in self.crew.workers)
        return f"{brief(self.report)}, {self.checkpoints.sum} checkpoints, {self.crew.restarts} processes started again, at most {memory} MiB"


def brief(report: Report) -> str:
    """What a coordinator says, in few words."""
    if not report:
        return "no answer"
    failures = report["checkpoint_failures"]
    words = [str(report["phase"]), f"{report['records_in']} rows read", f"{report['restarts']} restarts"]
    if failures["consecutive"]:
        words.append(f"{failures['consecutive']} checkpoints failed in a row")
    return ", ".join(words)


def play(plan: Plan, folder: Path, name: str) -> Outcome:
    """Plays all phases. `folder`: for logs; `name`: of the cgroups."""
    with ExitStack() as stack:
        with narrate.Step("an S3 server starts", usually="5 s"):
            server = stack.enter_context(seaweed.serve())
        url = urlsplit(server.endpoint)
        gate = stack.enter_context(Gate(url.hostname or "", url.port or 0))
        limits = [limited(f"{name}-{i}", plan.limit) for i in range(plan.workers)]
        sql = folder / "job.sql"
        # Where a worker cannot read its limit, the job sets the buffer that would follow from it.
        buffer = None if all(limit.tells for limit in limits) else plan.limit // 8
        sql.write_text(output.job(plan.rows, f"s3://{server.bucket}/{OUT}", buffer=buffer))
        keys = {name: value for name, value in server.environment.items() if name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        storage = f"s3://{server.bucket}/state"
        job = Job(plan.binary, sql, storage, gate.endpoint, "us-east-1", plan.checkpoint_interval, keys)
        crew = stack.enter_context(Crew(job, limits, folder))
        narrate.say(f"{plan.workers} workers of {plan.limit // MIB} MiB each ({limits[0].kind}), {plan.rows} rows, logs in {folder}")
        return phases(Run(plan, server, gate, crew))


def phases(run: Run) -> Outcome:
    """All phases of a job whose processes run, and its ledger."""
    plan = run.plan
    outcome = Outcome(run.phases, plan.limit, [])
    steps: list[Callable[[], None]] = [
        lambda: run.gate.pass_on(plan.rate),
        run.begin,
        lambda: run.lasts(f"{plan.rate / MIB:g} MiB/s", plan.slow_seconds),
        run.gate.refuse,
        lambda: run.lasts("503", plan.outage_seconds),
        run.gate.pass_on,
        lambda: run.until_completed("works again"),
    ]
    try:
        for step in steps:
            step()
    except (Failed, wait.Timeout) as failed:
        outcome.against.append(str(failed))
        last = run.report.get("last_failure")
        if last:
            outcome.against.append(f"the last failure that the job told: {last['message']}")
    else:
        with narrate.Step("every row is looked for") as step:
            outcome.verdict = output.check(plan.rows, output.committed(run.server.client, run.server.bucket, OUT))
            step.result(f"{outcome.verdict.found} found")
    return outcome
