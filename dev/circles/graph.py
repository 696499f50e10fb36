"""Arrows between files, and the circles that they form."""

from collections.abc import Iterator
from pathlib import Path


class Graph:
    """Which file names what of which other file."""

    def __init__(self) -> None:
        self.arrows: dict[Path, dict[Path, set[str]]] = {}

    def add(self, source: Path, target: Path, name: str) -> None:
        """Adds an arrow. A file may name what is its own."""
        self.arrows.setdefault(source, {})
        self.arrows.setdefault(target, {})
        if source != target:
            self.arrows[source].setdefault(target, set()).add(name)

    def circles(self) -> list[list[Path]]:
        """Returns the strongly connected components of more than one file, the largest first."""
        order: list[Path] = []
        seen: set[Path] = set()
        forth = {file: set(targets) for file, targets in self.arrows.items()}
        for start in sorted(self.arrows):
            order += self._finished(start, seen, forth)
        back: dict[Path, set[Path]] = {file: set() for file in self.arrows}
        for source, targets in self.arrows.items():
            for target in targets:
                back[target].add(source)
        seen = set()
        found = [sorted(self._finished(file, seen, back)) for file in reversed(order)]
        return sorted((circle for circle in found if len(circle) > 1), key=lambda circle: (-len(circle), circle))

    def ties(self, circle: list[Path]) -> Iterator[tuple[Path, Path, list[str]]]:
        """Yields the arrows within a circle, with the names that they stand for."""
        for source in circle:
            for target in sorted(self.arrows[source]):
                if target in circle:
                    yield source, target, sorted(self.arrows[source][target])

    @staticmethod
    def _finished(start: Path, seen: set[Path], arrows: dict[Path, set[Path]]) -> list[Path]:
        """Returns what is reached from `start` and was not seen before, each file after all that it leads to."""
        if start in seen:
            return []
        seen.add(start)
        finished, path = [], [(start, iter(sorted(arrows[start])))]
        while path:
            file, targets = path[-1]
            following = next((target for target in targets if target not in seen), None)
            if following is None:
                finished.append(file)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(sorted(arrows[following]))))
        return finished
