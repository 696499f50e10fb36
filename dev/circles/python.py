"""Imports between the Python files of a package."""

import ast
from pathlib import Path

from dev.circles.graph import Graph


def add_arrows(graph: Graph, root: Path, package: str) -> None:
    """Adds the imports between the files of `package` below `root`, without those of tests."""
    for file in sorted((root / package).rglob("*.py")):
        if not file.name.startswith("test_"):
            for place, name in imports(file, root):
                graph.add(file, place, name)


def imports(file: Path, root: Path, names: set[str] | None = None) -> list[tuple[Path, str]]:
    """Returns the files that a file imports from, with the names; only some names if they are given."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if place := _module(root, alias.name.split(".")):
                    found.append((place, alias.name))
        elif isinstance(node, ast.ImportFrom):
            module = [*_package(file, root, node.level), *(node.module or "").split(".")]
            parts = [part for part in module if part]
            for alias in node.names:
                if names is None or (alias.asname or alias.name) in names:
                    found += _imported(root, parts, alias.name)
    return found


def _imported(root: Path, parts: list[str], name: str) -> list[tuple[Path, str]]:
    """Returns where `from parts import name` leads: a module, or a name that a package may only pass on."""
    if place := _module(root, [*parts, name]):
        return [(place, name)]
    place = _module(root, parts)
    if place is None:
        return []
    if place.name == "__init__.py" and (passed := imports(place, root, {name})):
        return passed
    return [(place, name)]


def _package(file: Path, root: Path, level: int) -> list[str]:
    """Returns the package that a relative import starts from."""
    parts = file.relative_to(root).parent.parts
    return list(parts[: len(parts) - level + 1]) if level else []


def _module(root: Path, parts: list[str]) -> Path | None:
    """Returns the file of a module of the repository."""
    if not parts:
        return None
    place = root.joinpath(*parts)
    places = [place.with_suffix(".py"), place / "__init__.py"]
    return next((file for file in places if file.exists()), None)
