"""Run the stories: `python3 -m dev.e2e [PATTERN]`; KEEP=1 leaves the cluster up.

PATTERN is unittest's -k: `python3 -m dev.e2e '*killed*'`.
"""

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
    """Prepare, run every story that matches, clean up; 0 when all passed and there was one."""
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
    try:
        sys.exit(main(sys.argv[1:]))
    except (CommandFailed, Unsupported, images.BuildFailed, wait.Timeout, subprocess.CalledProcessError) as error:
        sys.exit(f"e2e: {error}")
