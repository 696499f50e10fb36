import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

from dev.lib import wait
from dev.lib.s3 import S3, S3Error
from dev.lib.seaweed import Server
from dev.slow_store import __main__ as program
from dev.slow_store import output
from dev.slow_store.gate import Gate, Pace, body_of
from dev.slow_store.limit import Cgroup, Watched, limited, value_of
from dev.slow_store.run import MIB, Failed, Outcome, Phase, Plan, Rising, Run
from dev.slow_store.workers import BackOff, Crew, Job, Worker, memory_of

GREEDY = "held = bytes([1]) * (200 << 20)\nimport signal\nsignal.pause()"


def part(*numbers: int) -> bytes:
    rows = [{"id": n, "triple": 3 * n, "pad": "0" * output.PAD} for n in numbers]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class OutputTest(unittest.TestCase):
    def test_every_row_once_is_exact(self) -> None:
        verdict = output.check(5, [("a", part(1, 3, 5)), ("b", b""), ("c", part(4, 2))])
        self.assertTrue(verdict.exact, verdict)
        self.assertEqual((verdict.found, verdict.examples), (5, []))

    def test_a_lost_and_a_doubled_row_are_told_though_the_count_is_right(self) -> None:
        verdict = output.check(4, [("a", part(1, 2)), ("b", part(2, 4))])
        self.assertEqual((verdict.found, verdict.lost, verdict.duplicated, verdict.exact), (4, 1, 1, False))
        self.assertEqual(verdict.examples, ["b: row 2 is there again", "the first lost row is 3"])

    def test_what_is_not_a_whole_row_of_the_job_is_wrong(self) -> None:
        other = {"id": 2, "triple": 7, "pad": "0" * output.PAD}
        for line in (other, {**other, "triple": 6, "pad": ""}, {**other, "triple": 6, "more": 1}, 7, {"id": "2"}):
            verdict = output.check(2, [("a", part(1) + json.dumps(line).encode() + b"\n")])
            self.assertEqual((verdict.wrong, verdict.lost, verdict.exact), (1, 1, False), line)
        for number in (0, 3, -1):
            self.assertEqual(output.check(2, [("a", part(1, 2, number))]).wrong, 1)
        cut = output.check(2, [("a", part(1, 2)[:-1])])
        self.assertEqual((cut.lost, cut.wrong, cut.examples), (0, 1, ["a ends within a row"]))

    def test_the_job_is_told_its_buffer_only_where_it_cannot_read_its_limit(self) -> None:
        self.assertNotIn("SET", output.job(7, "s3://b/out", buffer=None))
        self.assertIn("SET 'streamkeeper.sink.buffer-size' = '64';", output.job(7, "s3://b/out", buffer=64))


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def gate() -> Iterator[Gate]:
    """A gate before a server that answers with what it is sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Gate("127.0.0.1", server.server_address[1]) as opened:
                yield opened
        finally:
            server.shutdown()
            thread.join()


def connect(to: Gate) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(to.endpoint.removeprefix("http://"), timeout=20)


def asked(connection: http.client.HTTPConnection, method: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection.request(method, "/x", body)
    answer = connection.getresponse()
    return answer.status, answer.read()


class GateTest(unittest.TestCase):
    def test_all_passes_and_is_counted(self) -> None:
        with gate() as opened, contextlib.closing(connect(opened)) as one, contextlib.closing(connect(opened)) as other:
            body = os.urandom(300_000)
            for rate in (None, 50 * MIB):
                opened.pass_on(rate)
                for connection in (one, other, one):
                    self.assertEqual(asked(connection, "PUT", body), (200, body))
            self.assertGreaterEqual(opened.counts.passed, 12 * len(body))
            self.assertEqual(opened.counts.refused, 0)

    def test_a_gate_that_refuses_answers_503_on_and_on_and_the_server_hears_nothing(self) -> None:
        with gate() as opened, contextlib.closing(connect(opened)) as connection:
            opened.refuse()
            for method, body in (("GET", None), ("PUT", bytes(200_000)), ("HEAD", None), ("DELETE", None)):
                status, answer = asked(connection, method, body)
                self.assertEqual((status, b"SlowDown" in answer), (503, method != "HEAD"))
            self.assertEqual((opened.counts.refused, opened.counts.passed), (4, 0))

    def test_open_connections_are_cut_when_it_begins_and_ends_to_refuse(self) -> None:
        with gate() as opened, contextlib.closing(connect(opened)) as connection:
            self.assertEqual(asked(connection, "PUT", b"a"), (200, b"a"))
            for change, status in ((opened.refuse, 503), (opened.pass_on, 200)):
                change()
                with self.assertRaises((OSError, http.client.HTTPException)):
                    asked(connection, "PUT", b"b")
                connection.close()
                self.assertEqual(asked(connection, "PUT", b"b")[0], status)

    def test_all_connections_share_one_rate(self) -> None:
        pace = Pace(1000)
        self.assertEqual([pace.delay(10.0, 500), pace.delay(10.0, 500), pace.delay(10.5, 1000)], [0.5, 1.0, 1.5])
        self.assertEqual(pace.delay(20.0, 500), 0.5)
        self.assertEqual(Pace().delay(1.0, 1 << 30), 0.0)

    def test_where_a_request_ends(self) -> None:
        for headers, end in (
            (b"", (0, True)),
            (b"Content-Length: 12\r\n", (12, True)),
            (b"Transfer-Encoding: chunked\r\n", (0, False)),
            (b"content-length: -1\r\n", (0, False)),
        ):
            self.assertEqual(body_of(b"PUT /x HTTP/1.1\r\n" + headers + b"\r\n"), end)


class LimitTest(unittest.TestCase):
    def greedy(self, limit: Watched | Cgroup) -> int:
        """How a process ends that takes 200 MiB; it does not end by itself."""
        process = subprocess.Popen([*limit.prefix(), sys.executable, "-c", GREEDY])

        def ended() -> int | wait.Pending:
            limit.look(process.pid, memory_of(process.pid)[1])
            code = process.poll()
            return wait.Pending("it runs") if code is None else code

        try:
            return wait.until("its end", ended, 60)
        finally:
            process.kill()
            process.wait()

    def test_a_process_that_takes_more_is_ended_and_counted(self) -> None:
        for limit in (limited(f"streamkeeper-test-{os.getpid()}", 64 * MIB), Watched(64 * MIB)):
            try:
                self.assertEqual((limit.kills(), self.greedy(limit), limit.kills()), (0, -9, 1), limit.kind)
            finally:
                limit.remove()

    def test_a_process_reads_its_limit_where_a_container_does(self) -> None:
        limit = limited(f"streamkeeper-test-{os.getpid()}", 64 * MIB)
        try:
            if not isinstance(limit, Cgroup):
                self.skipTest("no cgroup can be made here")
            name = "memory.max" if limit.kind == "cgroup v2" else "memory.limit_in_bytes"
            said = subprocess.run([*limit.prefix(), "cat", str(limit.seen_at / name)], capture_output=True, check=True)
            self.assertEqual(int(said.stdout), 64 * MIB)
        finally:
            limit.remove()

    def test_numbers_of_cgroups_are_read_by_name(self) -> None:
        self.assertEqual(value_of("oom 3\noom_kill 2\n", "oom_kill"), 2)
        with self.assertRaises(OSError):
            value_of("oom 3\n", "oom_kill")


class WorkerTest(unittest.TestCase):
    def test_a_process_that_keeps_ending_waits_longer_and_longer(self) -> None:
        back_off = BackOff()
        self.assertEqual([back_off.ended(1) for _ in range(8)], [0, 10, 20, 40, 80, 160, 300, 300])
        self.assertEqual([back_off.ended(700), back_off.ended(1)], [0, 10])

    def test_a_process_that_ended_is_started_again(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            binary = folder / "runtime"
            binary.write_text('#!/bin/sh\necho "$@" "$KEY"\nexit 3\n')
            binary.chmod(0o755)
            job = Job(binary, folder / "job.sql", "s3://b/state", "http://x", "us-east-1", "10s", {"KEY": "secret"})
            worker = Worker(job, 1, Watched(MIB << 20), folder / "log")

            def again() -> bool | wait.Pending:
                worker.tick()
                return worker.restarts == 1 or wait.Pending("not yet")

            try:
                worker.start("127.0.0.1:1", 2)
                wait.until("its second start", again, 20)
                self.assertEqual(worker.ends, ["exit code 3"])
            finally:
                worker.stop()
            said = (folder / "log").read_text()
            self.assertIn("--ordinal=1 --workers=2", said)
            self.assertIn("secret", said)

    def test_memory_of_a_process_and_of_none(self) -> None:
        now, highest = memory_of(os.getpid())
        self.assertTrue(MIB < now <= highest)
        self.assertEqual(memory_of(2**30), (0, 0))


def measured(*highest: int) -> Phase:
    return Phase("503", highest=list(highest))


class RunTest(unittest.TestCase):
    def test_a_number_that_starts_again_goes_on_in_its_sum(self) -> None:
        rising = Rising()
        for value in (0, 2, 3, 1, 1, 4):
            rising.saw(value)
        self.assertEqual(rising.sum, 7)

    def test_the_claim_holds_only_with_every_row_and_below_the_limit(self) -> None:
        exact, lost = output.check(2, [("a", part(1, 2))]), output.check(2, [("a", part(1))])
        self.assertEqual(Outcome([measured(9, 8)], 10, [], exact).wrong(), [])
        for outcome in (
            Outcome([measured(8, 10)], 10, [], exact),
            Outcome([measured(9, 8)], 10, ["it did not come through"], exact),
            Outcome([measured(9, 8)], 10, []),
            Outcome([measured(9, 8)], 10, [], lost),
        ):
            self.assertTrue(outcome.wrong())

    def test_a_job_that_completes_before_the_store_works_again_says_nothing(self) -> None:
        run = self.run_of("completed", kills=0)
        with contextlib.redirect_stdout(io.StringIO()), self.assertRaisesRegex(Failed, "more --rows"):
            run.lasts("503", 0)
        running = self.run_of("running", kills=0)
        with contextlib.redirect_stdout(io.StringIO()):
            running.lasts("503", 0)
        self.assertEqual([phase.store for phase in running.phases], ["503"])

    def test_a_store_that_does_not_answer_at_once_is_asked_again(self) -> None:
        run = self.run_of("completed", kills=0)
        busy, missing = S3Error(0, "TimeoutError", "GET", "timed out"), S3Error(404, "NoSuchKey", "GET", "")
        with mock.patch.object(S3, "get", side_effect=[busy, missing]):
            self.assertIsInstance(run.completed(), wait.Pending)
            self.assertIs(run.completed(), False)
        self.assertIs(run.completed(), True)

    def test_files_are_read_again_when_the_store_does_not_answer(self) -> None:
        store = mock.Mock()
        store.entries.return_value = [mock.Mock(key="out/a")]
        store.get.side_effect = [S3Error(0, "TimeoutError", "GET", "timed out"), part(1)]
        with mock.patch("time.sleep"):
            self.assertEqual(list(output.committed(store, "bucket", "out")), [("out/a", part(1))])

    def test_a_worker_that_took_too_much_ends_the_run(self) -> None:
        with self.assertRaisesRegex(Failed, "more than 512 MiB"):
            self.run_of("running", kills=1).look()

    def test_exit_codes(self) -> None:
        exact = output.check(1, [("a", part(1))])
        for against, code, line in (([], 0, "came through by itself"), (["a worker was ended"], 1, "a worker was ended")):
            printed = io.StringIO()
            outcome = Outcome([measured(1, 1)], 10, against, exact)
            with (
                tempfile.TemporaryDirectory() as scratch,
                mock.patch.object(tempfile, "tempdir", scratch),
                mock.patch.object(program, "play", return_value=outcome),
                mock.patch("sys.argv", ["slow_store", "--binary", sys.executable]),
                mock.patch("signal.signal"),
                contextlib.redirect_stdout(printed),
            ):
                self.assertEqual(program.main(), code)
            self.assertIn(line, printed.getvalue())

    def test_numbers_are_above_zero_and_the_binary_is_there(self) -> None:
        plan = program.arguments(["--binary", sys.executable, "--limit", "48", "--rate", "512"])
        self.assertEqual((plan.limit, plan.rate, plan.outage_seconds), (48 * MIB, MIB // 2, 600))
        for given, said in ((["--binary", "/nowhere"], "cargo build"), (["--binary", sys.executable, "--rows", "0"], "above zero")):
            error = io.StringIO()
            with contextlib.redirect_stderr(error), self.assertRaises(SystemExit):
                program.arguments(given)
            self.assertIn(said, error.getvalue())

    def run_of(self, state: str, kills: int) -> Run:
        self.head = mock.patch.object(S3, "get", return_value=json.dumps({"state": {"is": state}}).encode())
        self.head.start()
        self.addCleanup(self.head.stop)
        server = Server("http://127.0.0.1:1", "bucket", "key", "secret")
        crew = mock.Mock(spec=Crew, kills=kills, restarts=0, workers=[])
        crew.report.return_value = None
        counted = mock.Mock()
        counted.counts.passed = counted.counts.refused = 0
        return Run(Plan(Path("x")), server, counted, crew)


if __name__ == "__main__":
    unittest.main()
