"""Runs the end-to-end stories on the cluster. KEEP=1 leaves the cluster up."""

import argparse
import os
import subprocess
import sys
import unittest
from pathlib import Path

from dev import images
from dev.e2e import base
from dev.lib import wait
from dev.lib.cluster import Unsupported, choose
from dev.lib.kubectl import CommandFailed
from dev.lib.paths import ROOT


def main(patterns: list[str]) -> int:
    """Prepares the cluster, runs every story that matches, and cleans up. Returns 0 if there was a story and all passed."""
    was_running = choose().running()
    cluster = base.prepare()
    try:
        loader = unittest.TestLoader()
        loader.testNamePatterns = [p if "*" in p else f"*{p}*" for p in patterns] or None
        suite = loader.discover(str(Path(__file__).parent), pattern="story_*.py", top_level_dir=str(ROOT))
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.testsRun:
            print(f"no story matches {' '.join(patterns)}", file=sys.stderr)
        return 0 if result.wasSuccessful() and result.testsRun else 1
    finally:
        if not was_running and not os.environ.get("KEEP"):
            cluster.down()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python3 -m dev.e2e", description=__doc__)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="part of the name of a story, or a pattern with *; all without it")
    try:
        sys.exit(main(parser.parse_args().patterns))
    except (CommandFailed, Unsupported, images.BuildFailed, wait.Timeout, subprocess.CalledProcessError) as error:
        sys.exit(f"e2e: {error}")
