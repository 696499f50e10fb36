"""A lost row, a doubled row and a wrong row of the flights job are found."""

import json
import unittest

from dev.demo import output

FLIGHTS = [
    {"sched_dep": "2013-01-01 05:15:00", "carrier": "UA", "origin": "EWR", "dep_delay": 2},
    {"sched_dep": "2013-01-01 05:45:00", "carrier": "UA", "origin": "JFK", "dep_delay": None},
    {"sched_dep": "2013-01-01 06:00:00", "carrier": "UA", "origin": "EWR", "dep_delay": 7},
]
DELAYS = [
    {"window_start": "2013-01-01 05:00:00", "carrier": "UA", "flights": 2, "delay": 2},
    {"window_start": "2013-01-01 06:00:00", "carrier": "UA", "flights": 1, "delay": 7, "worst": 7},
]
AIRPORTS = [
    {"before": None, "after": {"origin": "EWR", "flights": 1}, "op": "c"},
    {"before": None, "after": {"origin": "JFK", "flights": 1}, "op": "c"},
    {"before": {"origin": "EWR", "flights": 1}, "after": None, "op": "d"},
    {"before": None, "after": {"origin": "EWR", "flights": 2}, "op": "c"},
]


def lines(rows):
    return [json.dumps(row).encode() for row in rows]


def verdict(delays=DELAYS, airports=AIRPORTS):
    return output.check(lines(FLIGHTS), lines(delays), lines(airports))


class Output(unittest.TestCase):
    def test_right_output_is_exact(self):
        found = verdict()
        self.assertTrue(found.exact, found)
        self.assertEqual(str(found), "ledger: 4 rows expected, 4 found, 0 lost, 0 duplicated")
        self.assertEqual((found.added_exact, found.added_partial), (1, 0))

    def test_a_lost_row_is_found(self):
        found = verdict(delays=DELAYS[:1])
        self.assertEqual((found.lost, found.duplicated, found.exact), (1, 0, False))

    def test_a_doubled_row_is_found(self):
        found = verdict(delays=[*DELAYS, DELAYS[0]])
        self.assertEqual((found.lost, found.duplicated, found.exact), (0, 1, False))

    def test_a_wrong_row_is_found(self):
        found = verdict(delays=[{**DELAYS[0], "flights": 3}, DELAYS[1]])
        self.assertEqual((found.lost, found.exact), (1, False))

    def test_a_doubled_change_is_found(self):
        self.assertFalse(verdict(airports=[*AIRPORTS, AIRPORTS[-1]]).exact)
        self.assertFalse(verdict(airports=[*AIRPORTS[:3], *AIRPORTS[2:]]).exact)

    def test_an_added_column_is_never_more_than_the_truth(self):
        self.assertEqual(verdict(delays=[DELAYS[0], {**DELAYS[1], "worst": 8}]).wrong, 1)


if __name__ == "__main__":
    unittest.main()
