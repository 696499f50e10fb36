import json
import random
import unittest
from dataclasses import dataclass
from unittest import mock

from dev.faults import injections, output, run
from dev.faults.load import FOLDER
from dev.faults.transitions import Transition, nothing
from dev.faults.world import Missed, World

ROWS = [(0, "a", 1), (1, "b", 2), (2, "a", 3)]


@dataclass
class Entry:
    key: str


class Objects(dict):
    """A store with what two sinks wrote: `copies` and `counts` by checkpoint."""

    def write(self, checkpoint: int, copies: list[tuple[int, str, int]], *counts: tuple) -> "Objects":
        rows = [{"id": i, "name": name, "n": n} for i, name, n in copies]
        changes = [{side: dict(zip(("name", "seen", "total"), it, strict=True)) for side, it in zip(("before", "after"), change, strict=True) if it} for change in counts]
        for table, lines in (("copies", rows), ("counts", changes)):
            key = f"{FOLDER}/{table}/part-lineage-sink-0-{checkpoint:012}.json"
            self[key] = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return self

    def entries(self, _bucket: str, prefix: str) -> list[Entry]:
        return [Entry(key) for key in sorted(self) if key.startswith(prefix)]

    def get(self, _bucket: str, key: str) -> bytes:
        return self[key]


class OutputTest(unittest.TestCase):
    def test_output_that_a_restore_left_behind_is_left_out_and_nothing_else(self) -> None:
        store = Objects().write(4, ROWS[:1], (None, ("a", 1, 1)))
        store.write(6, ROWS[1:], (None, ("b", 1, 2)), (("a", 1, 1), ("a", 2, 4)))  # snapshot of 5, then this; 8 goes back
        store.write(9, ROWS[1:2], (None, ("b", 1, 2))).write(10, ROWS[2:], (("a", 1, 1), ("a", 2, 4)))
        verdict = output.check(store, ROWS, [range(6, 8)])
        self.assertTrue(verdict.exact, verdict.examples)
        self.assertEqual((verdict.found, verdict.left_out), (3, 2))
        self.assertEqual(output.written(store, [range(6, 8)], {}), 3)
        whole = output.check(store, ROWS)
        self.assertEqual((whole.duplicated, whole.exact), (2, False))
        self.assertGreater(whole.wrong, 0)
        self.assertEqual(output.check(store, ROWS, [range(6, 10)]).lost, 1)

    def test_lost_doubled_and_wrong_rows_are_told_by_number(self) -> None:
        store = Objects().write(1, [ROWS[0], ROWS[0], (7, "c", 1)], (("a", 1, 1), ("a", 2, 4)))
        verdict = output.check(store, ROWS)
        self.assertEqual((verdict.lost, verdict.duplicated, verdict.exact), (2, 1, False))
        self.assertIn("takes back what is not there", "\n".join(verdict.examples))


class StrikeTest(unittest.TestCase):
    def test_a_fault_that_hits_nobody_gives_way_to_another_and_is_not_named(self) -> None:
        def absent(_: World) -> injections.Fault:
            raise Missed("there is no other worker")
            yield

        def late(_: World) -> injections.Fault:
            yield
            raise Missed("it was gone")

        def there(_: World) -> injections.Fault:
            yield
            return "load-r1-0"

        world = World(mock.Mock(), mock.Mock(), mock.Mock(), random.Random(3))
        for at_once in (False, True):
            upgrade = Transition(nothing, 1, ("Upgrade",), within=0, under_way=lambda _: "Upgrade/HandingOver", at_once=at_once)
            with mock.patch.object(injections, "FAULTS", [(absent, 10), (late, 10), (there, 10)]):
                self.assertEqual(run.strike(world, upgrade), ("Upgrade/HandingOver", "there", "load-r1-0"))
            with mock.patch.object(injections, "FAULTS", [(late, 1)]):
                _, name, why = run.strike(world, upgrade)
                self.assertEqual((name, why.partition(";")[0]), ("", "late: it was gone"))
            with mock.patch.object(injections, "FAULTS", [(absent, 1)]), self.assertRaisesRegex(AssertionError, "absent: there is no other worker"):
                run.strike(world, upgrade)

    def test_a_fault_after_the_end_of_a_transition_is_filed_as_such(self) -> None:
        over = Transition(nothing, 1, ("Upgrade",), under_way=lambda _: None)
        self.assertEqual(over.where(mock.Mock()), "steady (after nothing)")
        self.assertEqual(Transition(nothing, 1, under_way=lambda _: None).where(mock.Mock()), "steady")
        tally = run.Tally()
        for where in ("steady", "steady (after nothing)", "Upgrade/Preparing"):
            tally.pauses[where].append(1.0)
        self.assertEqual(tally.in_the_middle, 1)
