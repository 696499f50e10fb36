"""python3 -m dev.images [operator|runtime|seaweedfs ...] [--profile release] [--no-load]"""

import argparse
import subprocess
import sys

from dev.images import REFERENCES, BuildFailed, build
from dev.lib import narrate
from dev.lib.cluster import Unsupported, choose
from dev.lib.kubectl import CommandFailed


def main() -> None:
    """Build the images, show what they weigh, and load them when a cluster runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="IMAGE", help=", ".join(REFERENCES))
    parser.add_argument("--profile", default="dev")
    parser.add_argument("--no-load", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(REFERENCES):
        parser.error(f"no image {', '.join(unknown)}; there are {', '.join(REFERENCES)}")
    with narrate.Step("building", usually="a minute after a change") as step:
        built = build(arguments.names or list(REFERENCES), arguments.profile, step.update)
    rows = [[b.reference, f"{b.megabytes:.1f}", b.digest[:19], b.archive] for b in built]
    narrate.table(["image", "MB", "digest", "archive"], rows)
    cluster = choose()
    if arguments.no_load or not cluster.running():
        return
    with narrate.Step(f"loading into every node of the {cluster.name} cluster"):
        cluster.load(*[b.archive for b in built])


if __name__ == "__main__":
    try:
        main()
    except (BuildFailed, CommandFailed, Unsupported, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"images: {error}")
