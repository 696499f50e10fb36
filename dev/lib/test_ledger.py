"""The ledger finds what it is for: a row that is lost, surplus or wrong."""

import json
import unittest
from dataclasses import dataclass

from dev.lib import ledger

COLUMNS = "name TEXT, n INTEGER"


@dataclass
class Entry:
    key: str


class Store(dict):
    """Objects by key."""

    def entries(self, _bucket: str, prefix: str) -> list[Entry]:
        return [Entry(key) for key in sorted(self) if key.startswith(prefix)]

    def get(self, _bucket: str, key: str) -> bytes:
        return self[key]


def changes(*pairs: tuple) -> list[bytes]:
    return [json.dumps({side: row and dict(zip(("name", "n"), row, strict=True)) for side, row in zip(("before", "after"), pair, strict=True)}).encode() for pair in pairs]


class VerdictTest(unittest.TestCase):
    def test_only_all_rows_once_and_right_are_exact(self) -> None:
        self.assertTrue(ledger.Verdict(3, 3).exact)
        for wrong in (ledger.Verdict(3, 2), ledger.Verdict(3, 3, 1), ledger.Verdict(3, 3, 0, 1), ledger.Verdict(3, 3, 0, 0, 1)):
            self.assertFalse(wrong.exact, wrong)

    def test_its_line_is_what_the_tools_print(self) -> None:
        self.assertEqual(str(ledger.Verdict(5, 4, 1)), "ledger: 5 rows expected, 4 found, 1 lost, 0 duplicated")
        told = ledger.Verdict(5, 5, wrong=2, wrong_is="counts wrong", note="7 were written again after a restore")
        line = "ledger: 5 rows expected, 5 found, 0 lost, 0 duplicated, 2 counts wrong; 7 were written again after a restore"
        self.assertEqual(str(told), line)

    def test_there_are_few_examples(self) -> None:
        verdict = ledger.Verdict(0)
        verdict.add_examples(str(number) for number in range(99))
        self.assertEqual(len(verdict.examples), ledger.EXAMPLES)


class TablesTest(unittest.TestCase):
    def compared(self, *found: tuple[str, int]) -> ledger.Difference:
        tables = ledger.Tables()
        tables.fill("wanted", COLUMNS, [("a", 1), ("b", 2)])
        tables.fill("there", COLUMNS, found)
        return tables.compare("rows", "SELECT * FROM wanted", "SELECT * FROM there", "name")

    def test_equal_tables_differ_in_nothing(self) -> None:
        self.assertEqual(self.compared(("b", 2), ("a", 1)), ledger.Difference(2, 2, [], [], 0, []))

    def test_a_lost_a_surplus_and_a_wrong_row_are_found(self) -> None:
        self.assertEqual(self.compared(("a", 1)).missing, [("b", 2)])
        self.assertEqual(self.compared(("a", 1), ("b", 2), ("a", 1)).surplus, 1)
        wrong = self.compared(("a", 1), ("b", 3))
        self.assertEqual((wrong.missing, wrong.unexpected), ([("b", 2)], [("b", 3)]))
        self.assertEqual(wrong.examples, ["rows: expected, not found: ('b', 2)", "rows: found, not expected: ('b', 3)"])

    def applied(self, *pairs: tuple, key: str = "") -> tuple[list[str], list[tuple]]:
        tables = ledger.Tables()
        return tables.apply("there", COLUMNS, changes(*pairs), key), tables.rows("SELECT * FROM there")

    def test_a_changelog_is_applied(self) -> None:
        self.assertEqual(self.applied((None, ("a", 1)), (("a", 1), ("a", None)), (("a", None), ("a", 3)), key="name"), ([], [("a", 3)]))

    def test_changes_that_contradict_what_is_there_are_found(self) -> None:
        wrong, _ = self.applied((None, ("a", 1)), (("a", 2), ("a", 3)))
        self.assertEqual(wrong, ["there: takes back what is not there: {'name': 'a', 'n': 2}"])
        twice = ((None, ("a", 1)), (None, ("a", 1)))
        self.assertEqual(self.applied(*twice), ([], [("a", 1), ("a", 1)]))
        self.assertEqual(len(self.applied(*twice, key="name")[0]), 1)
        self.assertEqual(len(self.applied(*twice, (("a", 1), None))[0]), 1)


class PartsTest(unittest.TestCase):
    def test_parts_are_read_in_the_order_of_their_checkpoints(self) -> None:
        names = ["part-a-b-0-000000000010.json", "part-a-b-1-000000000009.json", "part-a-b-0-000000000009.json"]
        self.assertEqual(ledger.in_commit_order(names), [names[2], names[1], names[0]])
        self.assertEqual([ledger.checkpoint_of(name) for name in names], [10, 9, 9])
        store = Store({f"out/{name}": name.encode() + b"\nx" for name in names})
        keys = ledger.parts(store, "bucket", "out/")
        self.assertEqual(list(ledger.lines(store, "bucket", keys))[::2], [names[2].encode(), names[1].encode(), names[0].encode()])


if __name__ == "__main__":
    unittest.main()
