"""Modules of all crates of the repository, and the files that their paths lead to."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from dev.circles.graph import Graph
from dev.circles.items import Declared, Items, Use, items
from dev.circles.tokens import tokens

SKIPPED = {"target", "tests", "benches", "examples", ".git"}
ROOTS = ("lib.rs", "main.rs", "mod.rs")


@dataclass(eq=False)
class Module:
    """A module, in the file that holds its content."""

    crate: "Crate"
    file: Path
    items: Items
    parent: "Module | None"
    children: dict[str, "Module"] = field(default_factory=dict)

    @property
    def root(self) -> "Module":
        """The module of the whole crate."""
        return self if self.parent is None else self.parent.root

    def is_within(self, other: "Module") -> bool:
        """Whether the other module contains this one."""
        return self is other or (self.parent is not None and self.parent.is_within(other))


@dataclass(frozen=True)
class Item:
    """A name that a module defines."""

    module: Module
    name: str


@dataclass(eq=False)
class Crate:
    """A package: its library, its binaries, and the names it has for other crates."""

    name: str
    roots: list[Path]
    library: Path | None
    renamed: dict[str, str]
    modules: dict[Path, Module] = field(default_factory=dict)
    """Of each root, the module."""


def add_arrows(graph: Graph, root: Path, *, parents: bool = False) -> None:
    """Adds the arrows between the Rust files below `root`, without those of tests.

    A module sees the items of the modules that contain it. With `parents` this counts as an arrow
    too; else only what a module takes from its children, its siblings and other folders does.
    """
    _Workspace(root, parents).add_arrows(graph)


def is_test(file: Path) -> bool:
    """Whether a file holds tests, by its name."""
    return file.name in ("tests.rs", "test.rs") or file.stem.endswith("_tests") or "tests" in file.parts


def read_crate(manifest: Path) -> Crate | None:
    """Reads a `Cargo.toml`; a workspace alone is no crate."""
    content = tomllib.loads(manifest.read_text())
    if "package" not in content:
        return None
    folder = manifest.parent
    library = folder / content.get("lib", {}).get("path", "src/lib.rs")
    binaries = [folder / binary["path"] for binary in content.get("bin", []) if "path" in binary]
    binaries += [folder / "src/main.rs", *sorted((folder / "src/bin").glob("*.rs"))]
    name = content.get("lib", {}).get("name", content["package"]["name"]).replace("-", "_")
    renamed = {
        alias.replace("-", "_"): how["package"].replace("-", "_")
        for alias, how in content.get("dependencies", {}).items()
        if isinstance(how, dict) and "package" in how
    }
    roots = [file for file in dict.fromkeys([library, *binaries]) if file.exists()]
    return Crate(name, roots, library if library.exists() else None, renamed)


class _Workspace:
    def __init__(self, root: Path, parents: bool) -> None:
        self.graph = Graph()
        self.top = root
        self.parents = parents
        self.crates: dict[str, Crate] = {}
        self.modules: list[Module] = []
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in SKIPPED)
            if "Cargo.toml" in files and (crate := read_crate(Path(folder, "Cargo.toml"))):
                self.crates[crate.name] = crate
                for file in crate.roots:
                    crate.modules[file] = self.load(crate, file, items(tokens(file.read_text())), None, file.parent)

    def load(self, crate: Crate, file: Path, content: Items, parent: Module | None, folder: Path) -> Module:
        """Reads a module and all below it. `folder` has the files of its children."""
        module = Module(crate, file, content, parent)
        self.modules.append(module)
        for declared in content.modules:
            if declared.content is not None:
                if not declared.content.of_tests:
                    module.children[declared.name] = self.load(crate, file, declared.content, module, folder / declared.name)
            elif (place := _file_of(declared, file, folder)) and not is_test(place.relative_to(self.top)):
                inner = items(tokens(place.read_text()))
                if not inner.of_tests:
                    below = place.parent if place.name in ROOTS or declared.path else place.with_suffix("")
                    module.children[declared.name] = self.load(crate, place, inner, module, below)
        return module

    def add_arrows(self, graph: Graph) -> None:
        """Adds what each module names of others."""
        self.graph = graph
        for module in self.modules:
            for use in module.items.uses:
                if use.alias == "*":
                    self.add_glob(module, use)
                elif not use.public or use.alias in module.items.words:
                    # What is only passed on leads through this file, and not out of it.
                    self.add(module, use.path)
            for path in module.items.paths:
                self.add(module, path)

    def arrow(self, module: Module, owner: Module, name: str) -> None:
        """Adds one arrow, if it counts."""
        if self.parents or not module.is_within(owner):
            self.graph.add(module.file, owner.file, name)

    def add(self, module: Module, path: tuple[str, ...]) -> None:
        """Adds the arrow to the item that a path names. A module alone is a place, and no arrow."""
        match self.resolve(module, path):
            case Item(owner, name):
                self.arrow(module, owner, name)
            case None:
                # Generated by a macro, perhaps: it is in the last module that can be seen.
                for end in range(len(path) - 1, 0, -1):
                    place = self.resolve(module, path[:end])
                    if isinstance(place, Module):
                        if path[:end] != ("self",):
                            self.arrow(module, place, path[end])
                        return
                    if place is not None:
                        return

    def add_glob(self, module: Module, use: Use) -> None:
        """Adds arrows to what `use …::*` brings and this module names."""
        place = self.resolve(module, use.path)
        if isinstance(place, Item):
            self.arrow(module, place.module, place.name)
        elif isinstance(place, Module):
            for word in module.items.words - module.items.defined:
                found = self.look_up(place, word, set(), last=True)
                if isinstance(found, Item):
                    self.arrow(module, found.module, word)

    def resolve(self, module: Module, path: tuple[str, ...], seen: set | None = None) -> Module | Item | None:
        """Returns what a path leads to from a module: an item where it is defined, or a module."""
        seen = set() if seen is None else seen
        place: Module | Item | None
        first, *rest = path
        if first in ("crate", "self", "super"):
            place = {"crate": module.root, "self": module, "super": module.parent}[first]
        else:
            place = self.look_up(module, first, seen, last=not rest) or self.library(module.crate.renamed.get(first, first))
        for position, word in enumerate(rest):
            if not isinstance(place, Module):
                return place
            last = position == len(rest) - 1
            place = place.parent if word == "super" else self.look_up(place, word, seen, last=last)
        return place

    def library(self, name: str) -> Module | None:
        """Returns the library of a crate of the workspace."""
        crate = self.crates.get(name)
        return crate.modules[crate.library] if crate and crate.library else None

    def look_up(self, module: Module, word: str, seen: set, *, last: bool) -> Module | Item | None:
        """Finds a name in a module: its own, or one that an import brings."""
        if (module, word) in seen:
            return None
        seen.add((module, word))
        child = module.children.get(word)
        if child and not (last and word in module.items.defined):
            return child
        if word in module.items.defined:
            return Item(module, word)
        for use in module.items.uses:
            if use.alias == word and (found := self.resolve(module, use.path, seen)):
                return found
        for use in module.items.uses:
            if use.alias == "*":
                place = self.resolve(module, use.path, set(seen))
                if isinstance(place, Module) and (found := self.look_up(place, word, seen, last=last)):
                    return found
        return None


def _file_of(declared: Declared, file: Path, folder: Path) -> Path | None:
    """Returns the file of `mod name;`."""
    if declared.path:
        places = [(file.parent / declared.path).resolve()]
    else:
        places = [folder / f"{declared.name}.rs", folder / declared.name / "mod.rs"]
    return next((place for place in places if place.exists()), None)
