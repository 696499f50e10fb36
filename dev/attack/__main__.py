"""Plays the attacks of docs/threat-model.md on the cluster. KEEP=1 leaves the cluster up.

Exit code 0 only if there was an attack and all were refused.
"""

import argparse
import os
import subprocess
import sys

from dev import images
from dev.attack import chart_keys, job_ports, manifests, objects, operator_keys, stored_state, world
from dev.attack.attack import Undecided, play
from dev.e2e import base
from dev.lib import narrate, wait
from dev.lib.cluster import Unsupported, choose
from dev.lib.kubectl import CommandFailed

ALL = [attack for module in (stored_state, manifests, job_ports, operator_keys, chart_keys, objects) for attack in module.ATTACKS]


def main(words: list[str]) -> int:
    """Prepares the cluster, plays the attacks whose title has all words, and cleans up."""
    chosen = [attack for attack in ALL if all(word.lower() in attack.title.lower() for word in words)]
    if not chosen:
        print(f"no attack matches {' '.join(words)}", file=sys.stderr)
        return 2
    was_running = choose().running()
    cluster = base.prepare()
    try:
        with narrate.Step("the victim: an operator with the chart's defaults, and a job with state", usually="20 s"):
            there = world.build(cluster)
        narrate.heading("Attacks")
        try:
            return 0 if play(chosen, there).safe else 1
        finally:
            world.remove(there)
    finally:
        if not was_running and not os.environ.get("KEEP"):
            cluster.down()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python3 -m dev.attack", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="words in the title of an attack; all attacks without one")
    try:
        sys.exit(main(parser.parse_args().words))
    except (CommandFailed, Undecided, Unsupported, images.BuildFailed, wait.Timeout, subprocess.CalledProcessError) as error:
        sys.exit(f"attack: {error}")
