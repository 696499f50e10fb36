"""Builds the images and loads them into the cluster, if one runs."""

import argparse
import subprocess
import sys

from dev.images import REFERENCES, BuildFailed, build
from dev.lib import narrate
from dev.lib.cluster import Unsupported, choose
from dev.lib.kubectl import CommandFailed


def main() -> None:
    """Builds the images, prints their sizes, and loads them if a cluster runs."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.images", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="IMAGE", help=", ".join(REFERENCES))
    parser.add_argument("--profile", default="dev", help="Cargo profile (%(default)s)")
    parser.add_argument("--no-load", action="store_true", help="only build")
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
