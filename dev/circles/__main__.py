"""`python3 -m dev.circles [FOLDER]`: prints every circle of files, and exits with 1 if there is one."""

import argparse
import sys
from pathlib import Path

from dev.circles import python, rust
from dev.circles.graph import Graph
from dev.lib.paths import ROOT


def read(root: Path, *, parents: bool = False) -> Graph:
    """Reads all files below `root`."""
    graph = Graph()
    rust.add_arrows(graph, root, parents=parents)
    python.add_arrows(graph, root, "dev")
    return graph


def report(graph: Graph, root: Path) -> str:
    """Returns each circle, with the names that tie it."""
    lines = []
    circles = graph.circles()
    for number, circle in enumerate(circles, 1):
        lines.append(f"circle {number}: {len(circle)} files")
        for source, target, names in graph.ties(circle):
            lines.append(f"  {source.relative_to(root)} -> {target.relative_to(root)}: {', '.join(names)}")
    lines.append(f"{len(circles)} circles in {len(graph.arrows)} files")
    return "\n".join(lines)


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.circles", description="Find files that depend on each other in a circle.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT, help="the repository (default: this one)")
    parser.add_argument(
        "--parents", action="store_true", help="count also what a Rust module takes from the modules that contain it"
    )
    arguments = parser.parse_args()
    root = arguments.folder.resolve()
    graph = read(root, parents=arguments.parents)
    print(report(graph, root))
    return 1 if graph.circles() else 0


if __name__ == "__main__":
    sys.exit(main())
