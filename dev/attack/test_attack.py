"""How a run of attacks is judged: a success or a failed try is never counted as refused."""

import contextlib
import io
import unittest

from dev.attack.attack import Attack, Score, Succeeded, play
from dev.lib.kubectl import CommandFailed


def judged(*attacks: Attack[None]) -> tuple[Score, str]:
    """The score of a run, and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        score = play(attacks, None)
    return score, out.getvalue()


def refused(_: None) -> str:
    return "the API server said no"


def works(_: None) -> str:
    raise Succeeded("the victim's state is gone")


def breaks(_: None) -> str:
    raise CommandFailed(["kubectl"], 1, "no cluster")


class Judgement(unittest.TestCase):
    def test_a_run_in_which_every_attack_is_refused_is_safe(self) -> None:
        score, printed = judged(Attack("one", refused), Attack("two", refused))
        self.assertTrue(score.safe)
        self.assertIn("2 attacks, 2 refused", printed)
        self.assertIn("the API server said no", printed)

    def test_an_attack_that_works_is_counted_and_its_gain_is_shown(self) -> None:
        score, printed = judged(Attack("one", refused), Attack("two", works))
        self.assertFalse(score.safe)
        self.assertIn("2 attacks, 1 refused", printed)
        self.assertIn("the victim's state is gone", printed)

    def test_an_attack_that_could_not_be_tried_is_not_counted_as_refused(self) -> None:
        score, printed = judged(Attack("one", breaks))
        self.assertFalse(score.safe)
        self.assertIn("1 attacks, 0 refused", printed)

    def test_a_run_without_attacks_is_not_safe(self) -> None:
        self.assertFalse(judged()[0].safe)


if __name__ == "__main__":
    unittest.main()
