"""A wrong answer is called wrong, whatever is wrong about it."""

import contextlib
import io
import json
import re
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

from dev.cases import __main__ as program
from dev.cases import case, judge, run
from dev.cases.case import KEYS
from dev.cases.judge import Answer, wrong
from dev.lib.paths import ROOT

WRITE_B = "import os\nopen('b', 'w').write('b\\n')\nos.rename('b', 'in/b')"
ROWS = {"why": "it shows", "rows": ["+I[1]", "+I[1]", "+I[2]"]}
ERROR = {"why": "it shows", "error": "line \\d+: no such thing"}


def of(said: dict[str, object]) -> case.Case:
    return case.parse(Path("files-01-example"), json.dumps(said))


def ended(out: str = "", err: str = "", code: int | None = 0) -> Answer:
    return Answer(code, out, err)


class Judging(unittest.TestCase):
    def test_the_rows_in_any_order_are_right(self) -> None:
        self.assertEqual(wrong(of(ROWS), ended("+I[2]\n+I[1]\n+I[1]\n")), [])

    def test_a_missing_a_doubled_and_a_changed_row_are_wrong(self) -> None:
        self.assertEqual(wrong(of(ROWS), ended("+I[2]\n+I[1]\n")), ["missing: +I[1]"])
        self.assertEqual(wrong(of(ROWS), ended("+I[2]\n+I[2]\n+I[1]\n+I[1]\n")), ["not expected: +I[2]"])
        self.assertEqual(
            wrong(of(ROWS), ended("+I[3]\n+I[1]\n+I[1]\n")), ["missing: +I[2]", "not expected: +I[3]"]
        )

    def test_no_output_is_wrong_also_when_no_rows_are_named_by_mistake(self) -> None:
        self.assertEqual(wrong(of(ROWS), ended("")), ["missing: +I[1] (2 times)", "missing: +I[2]"])
        self.assertEqual(wrong(of({"why": "x", "rows": []}), ended("+I[1]\n")), ["not expected: +I[1]"])

    def test_the_order_counts_where_the_case_says_so(self) -> None:
        ordered = of({**ROWS, "ordered": True})
        self.assertEqual(wrong(ordered, ended("+I[1]\n+I[1]\n+I[2]\n")), [])
        self.assertNotEqual(wrong(ordered, ended("+I[2]\n+I[1]\n+I[1]\n")), [])

    def test_right_rows_of_a_run_that_failed_are_wrong(self) -> None:
        found = wrong(of(ROWS), ended("+I[2]\n+I[1]\n+I[1]\n", "x\nerror: disk\n", 1))
        self.assertEqual(found, ["exit code 1: error: disk"])

    def test_the_error_must_come_and_must_be_the_one(self) -> None:
        self.assertEqual(wrong(of(ERROR), ended(err="job.sql: line 3: no such thing", code=1)), [])
        self.assertEqual(wrong(of(ERROR), ended(err="line 3: no such thing")), ["no error, exit code 0"])
        self.assertIn("not like", wrong(of(ERROR), ended(err="another", code=1))[0])
        self.assertIn("nothing on standard error", wrong(of(ERROR), ended(code=1))[0])

    def test_a_panic_a_signal_and_a_passed_deadline_are_wrong_whatever_else_fits(self) -> None:
        text = "line 3: no such thing"
        self.assertIn("signal 6", wrong(of(ERROR), ended(err=text, code=-6))[0])
        self.assertIn("no end within 60 s", wrong(of(ERROR), ended(err=text, code=None))[0])
        panic = f"{text}\nthread 'a' panicked at src/a.rs:1:1:\n"
        self.assertIn("src/a.rs:1:1", wrong(of(ERROR), ended(err=panic, code=1))[0])

    def test_a_warning_must_come_once(self) -> None:
        warned = of({"why": "x", "rows": [], "warning": "is always NULL"})
        self.assertEqual(wrong(warned, ended(err="a is always NULL\n")), [])
        self.assertIn("0 times", wrong(warned, ended())[0])
        self.assertIn("2 times", wrong(warned, ended(err="a is always NULL\na is always NULL\n"))[0])


class Waiting(unittest.TestCase):
    """Cases about processes that go on for ever, and about memory."""

    UNTIL = {"why": "x", "until": "last failure: no route"}

    def test_what_is_waited_for_must_be_said(self) -> None:
        said = Answer(-9, "", "Running; last failure: no route", ended=True)
        self.assertEqual(wrong(of(self.UNTIL), said), [])
        self.assertIn("was not said", wrong(of(self.UNTIL), ended(err="Running", code=None))[0])
        self.assertIn("was not said", wrong(of(self.UNTIL), ended(err="error: no route", code=1))[0])
        panicked = Answer(-9, "", f"{said.err}\nthread 'a' panicked at src/a.rs:1:1:\n", ended=True)
        self.assertIn("panicked", wrong(of(self.UNTIL), panicked)[0])

    def test_memory_beyond_its_bound_is_wrong(self) -> None:
        bounded = of({"why": "x", "rows": [], "max_rss_mib": 100})
        self.assertEqual(wrong(bounded, Answer(0, "", "", max_rss_mib=100)), [])
        self.assertEqual(
            wrong(bounded, Answer(0, "", "", max_rss_mib=101)), ["101 MiB of memory, more than 100"]
        )


class Control(unittest.TestCase):
    """A right answer is wrong under every wrong expectation."""

    RIGHT = (
        (ROWS, ended("+I[2]\n+I[1]\n+I[1]\n")),
        (ERROR, ended(err="line 3: no such thing", code=1)),
        ({**ERROR, "rows": ["a"]}, ended("a\n", "line 3: no such thing", code=1)),
        ({"why": "x", "rows": [], "warning": "NULL"}, ended(err="NULL")),
        ({"why": "x", "rows": [], "max_rss_mib": 9}, Answer(0, "", "", max_rss_mib=8)),
        ({"why": "x", "until": "so"}, Answer(-9, "", "so", ended=True)),
    )

    def test_every_wrong_expectation_is_noticed(self) -> None:
        for said, answer in self.RIGHT:
            with self.subTest(said):
                self.assertEqual(wrong(of(said), answer), [])
                spoiled = list(judge.spoiled(of(said)))
                self.assertTrue(spoiled)
                for other in spoiled:
                    self.assertNotEqual(wrong(other, answer), [], other)

    def test_a_judge_that_calls_everything_right_fails_the_case(self) -> None:
        for said, answer in self.RIGHT:
            with self.subTest(said):
                self.assertEqual(program.control(of(said), answer), [])
                with mock.patch.object(judge, "wrong", lambda *_: []):
                    self.assertNotEqual(program.control(of(said), answer), [])


class Folders(unittest.TestCase):
    def test_checkpoints_that_write_more_and_more_are_wrong(self) -> None:
        steady = of({"why": "it shows", "rows": [], "steady": True, "arguments": ["-v"]})

        def log(written: list[int]) -> str:
            return "".join(f"INFO checkpoint complete \x1b[3mwritten_bytes\x1b[0m\x1b[2m=\x1b[0m{size} total_bytes=9\n" for size in written)

        self.assertEqual(wrong(steady, ended(err=log([5, 5, 15, 5, 5, 5, 35, 5, 5]))), [])
        [found] = wrong(steady, ended(err=log([5, 10, 15, 20, 25, 30, 35, 40, 45])))
        self.assertIn("from 10 to 40 bytes", found)
        [found] = wrong(steady, ended(err=log([5, 5])))
        self.assertIn("2 checkpoints", found)

    def test_a_case_that_could_not_fail_is_refused(self) -> None:
        for said in (
            {"why": "x"},
            {"rows": []},
            {"why": "x", "row": []},
            {"why": "x", "verb": "walk", "rows": []},
            {"why": "x", "verb": "check", "rows": []},
            {"why": "x", "error": "("},
            {"why": "x", "until": "("},
            {"why": "x", "until": "a", "error": "b"},
        ):
            with self.subTest(said), self.assertRaises(case.BadCase):
                of(said)

    def test_every_case_of_the_repository_can_be_judged(self) -> None:
        for folder in program.folders():
            with self.subTest(folder.name):
                case.load(folder)

    def test_the_table_names_every_case_and_nothing_else(self) -> None:
        table = (program.CASES / "README.md").read_text()
        sources = [path for top in ("runtime", "tests", "dev") for path in (ROOT / top).rglob("*.rs")]
        functions = {name for path in sources for name in re.findall(r"\bfn (\w+)", path.read_text())}
        named = set(re.findall(r"`([a-z]+-\d+\w?-[\w-]+)`", table))
        self.assertEqual(named, {folder.name for folder in program.folders()})
        for test in re.findall(r"`([a-z]\w*_\w+)`", table):
            if test not in KEYS:
                self.assertIn(test, functions)


class Running(unittest.TestCase):
    """With a shell script instead of the engine."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.cases = Path(scratch.name) / "cases"
        self.binary = Path(scratch.name) / "engine"
        self.engine('cat "$IN"/* 2>/dev/null')

    def engine(self, text: str) -> None:
        self.binary.write_text(f"#!/bin/sh\n{text}\n")
        self.binary.chmod(0o755)

    def made(self, said: dict[str, object], **files: str) -> case.Case:
        folder = self.cases / "files-01-example"
        (folder / "in").mkdir(parents=True, exist_ok=True)
        (folder / "case.json").write_text(json.dumps(said))
        (folder / "job.sql").write_text("")
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        return case.load(folder)

    def judged(self, one: case.Case) -> list[str]:
        return wrong(one, run.answer(one, self.binary))

    def test_input_is_generated_in_a_copy_of_the_folder(self) -> None:
        one = self.made({"why": "x", "rows": ["a"]}, generate_py="open('in/a', 'w').write('a\\n')")
        self.assertEqual(self.judged(one), [])
        self.assertEqual(list((one.folder / "in").iterdir()), [])

    def test_a_script_that_fails_is_no_right_answer(self) -> None:
        one = self.made({"why": "x", "error": "."}, generate_py="raise SystemExit('no room')")
        with self.assertRaisesRegex(case.BadCase, "no room"):
            run.answer(one, self.binary)

    def test_something_happens_once_a_line_is_printed(self) -> None:
        self.engine('echo a; until [ -e "$IN/b" ]; do sleep 0.01; done; cat "$IN/b"')
        one = self.made({"why": "x", "rows": ["a", "b"]}, meanwhile_py=WRITE_B)
        self.assertEqual(self.judged(one), [])

    def test_something_happens_once_a_word_is_said(self) -> None:
        self.engine('echo down >&2; until [ -e "$IN/b" ]; do sleep 0.01; done; cat "$IN/b"')
        one = self.made(
            {"why": "x", "rows": ["b"], "meanwhile": "down"}, meanwhile_py=WRITE_B
        )
        self.assertEqual(self.judged(one), [])

    def test_a_process_that_goes_on_is_ended_once_it_said_the_word(self) -> None:
        self.engine("echo b; echo no route >&2; exec sleep 60")
        for until, rows, found in (
            ("no route", ["b"], []),
            ("no route", ["c"], ["missing: c", "not expected: b"]),
            ("no host", None, ["/no host/ was not said within 0.5 s: no route"]),
        ):
            said: dict[str, object] = {"why": "x", "until": until, "deadline_s": 0.5}
            one = self.made({**said, "rows": rows} if rows else said)
            self.assertEqual(self.judged(one), found)

    def test_the_memory_of_the_process_is_measured(self) -> None:
        self.engine(f'exec {sys.executable} -c "x = bytes([1]) * (200 << 20); print(len(x))"')
        one = self.made({"why": "x", "rows": [str(200 << 20)], "max_rss_mib": 150})
        self.assertRegex(self.judged(one)[0], r"^2\d\d MiB of memory, more than 150$")
        self.assertEqual(self.judged(replace(one, max_rss_mib=400)), [])

    def test_a_server_runs_beside_the_process_and_gives_it_variables(self) -> None:
        self.engine('shift 2; echo "$@" "$ENDPOINT" "$COPY"')
        one = self.made(
            {"why": "x", "rows": ["--endpoint http://x --storage s http://x <http://x>"]}
            | {"arguments": ["--endpoint", "${ENDPOINT}", "--storage", "s"], "env": {"COPY": "<${ENDPOINT}>"}},
            server_py="print('{\"ENDPOINT\": \"http://x\"}', flush=True)\nimport signal\nsignal.pause()",
        )
        self.assertEqual(self.judged(one), [])

    def test_a_server_that_does_not_start_is_no_right_answer(self) -> None:
        one = self.made({"why": "x", "error": "."}, server_py="raise SystemExit('no port')")
        with self.assertRaisesRegex(case.BadCase, "no port"):
            run.answer(one, self.binary)

    def test_a_process_past_its_deadline_is_ended(self) -> None:
        self.engine("exec sleep 60")
        one = self.made({"why": "x", "rows": [], "deadline_s": 0.2})
        self.assertEqual(self.judged(one), ["no end within 0.2 s"])

    def test_one_wrong_answer_fails_the_whole(self) -> None:
        for rows, code, line in ((["a"], 0, "1 passed, 0 failed"), (["b"], 1, "0 passed, 1 failed")):
            self.made({"why": "x", "rows": rows}, generate_py="open('in/a', 'w').write('a\\n')")
            printed = io.StringIO()
            with (
                mock.patch.object(program, "CASES", self.cases),
                mock.patch("sys.argv", ["cases", "--bin", str(self.binary)]),
                contextlib.redirect_stdout(printed),
            ):
                self.assertEqual(program.main(), code)
            self.assertIn(line, printed.getvalue())


if __name__ == "__main__":
    unittest.main()
