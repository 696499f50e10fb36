import unittest

from dev.lib import wait


class WaitTest(unittest.TestCase):
    def test_the_first_answer_that_is_not_pending_is_returned(self) -> None:
        answers = iter([wait.Pending("one"), wait.Pending("two"), 0])
        heard: list[str] = []
        self.assertEqual(wait.until("it", lambda: next(answers), 60, interval=0, on_pending=heard.append), 0)
        self.assertEqual(heard, ["one", "two"])

    def test_a_timeout_says_what_was_awaited_and_seen_last(self) -> None:
        with self.assertRaises(wait.Timeout) as caught:
            wait.until("three pods", lambda: wait.Pending("2 of 3"), 0)
        self.assertIn("three pods", str(caught.exception))
        self.assertIn("2 of 3", str(caught.exception))

    def test_only_the_listed_errors_are_waited_out(self) -> None:
        errors = [OSError("not up")]

        def probe() -> str:
            if errors:
                raise errors.pop()
            return "up"

        self.assertEqual(wait.until("it", probe, 60, interval=0, retry=(OSError,)), "up")
        with self.assertRaises(ZeroDivisionError):
            wait.until("it", lambda: 1 // 0, 60, retry=(OSError,))
