"""What an attack is, and how a run of attacks is judged."""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dev.lib import narrate, wait
from dev.lib.kubectl import CommandFailed

World = TypeVar("World")
LONGEST = 200
"""Characters of a refusal that the report shows."""


class Succeeded(Exception):
    """The attack worked. The message says what the attacker gained."""


class Undecided(Exception):
    """The attack could not be tried as it is meant, so it proves nothing."""


@dataclass(frozen=True)
class Attack(Generic[World]):
    """One attack: its sentence, and the function that tries it."""

    title: str
    play: Callable[[World], str]
    """Returns what refused the attack. Raises `Succeeded` when nothing did."""


@dataclass
class Score:
    """How a run ended."""

    refused: int = 0
    succeeded: int = 0
    undecided: int = 0

    @property
    def attacks(self) -> int:
        """Every attack that was tried."""
        return self.refused + self.succeeded + self.undecided

    @property
    def safe(self) -> bool:
        """Whether there was an attack and every one was refused."""
        return self.attacks > 0 and self.refused == self.attacks


def play(attacks: Sequence[Attack[World]], world: World) -> Score:
    """Try each attack once, in order, and print a line for each."""
    score = Score()
    for attack in attacks:
        began = time.monotonic()
        try:
            why = attack.play(world)
        except Succeeded as gained:
            score.succeeded += 1
            _line("31", "✘ SUCCEEDED", attack.title, str(gained), began)
        except (Undecided, CommandFailed, wait.Timeout, subprocess.TimeoutExpired, OSError, AssertionError, KeyError) as error:
            score.undecided += 1
            _line("31", "? undecided", attack.title, f"{type(error).__name__}: {error}", began)
            traceback.print_exc(file=sys.stderr)
        else:
            score.refused += 1
            _line("32", "✔ refused  ", attack.title, why, began)
    print(f"\n{score.attacks} attacks, {score.refused} refused", flush=True)
    return score


def _line(colour: str, mark: str, title: str, why: str, began: float) -> None:
    text = " ".join(why.split())
    shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    took = narrate.elapsed(time.monotonic() - began)
    print(f"  {narrate.paint(mark, colour)}  {title} {narrate.paint(f'({took})', '2')}\n               {narrate.paint(shown, '2')}", flush=True)
