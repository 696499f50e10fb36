"""What one module of Rust declares, imports and names."""

from dataclasses import dataclass, field

from dev.circles.tokens import Token

DEFINING = {"fn", "struct", "enum", "trait", "type", "const", "static", "union"}
QUALIFIERS = {"unsafe", "async", "default", "extern", "const"}
OPEN, CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Use:
    """One name that a `use` brings: its path, and the name here. `*` is a glob."""

    path: tuple[str, ...]
    alias: str
    public: bool


@dataclass
class Declared:
    """A child module: inline with its content, or in a file of its own."""

    name: str
    content: "Items | None"
    path: str | None
    """Of `#[path = "…"]`."""


@dataclass
class Items:
    """Content of one module, without what only tests see."""

    modules: list[Declared] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)
    paths: set[tuple[str, ...]] = field(default_factory=set)
    """Paths of two words and more."""
    words: set[str] = field(default_factory=set)
    of_tests: bool = False


def items(tokens: list[Token]) -> Items:
    """Reads the tokens of a file."""
    reader = _Reader(tokens)
    return reader.module(len(tokens))


class _Reader:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def text(self, offset: int = 0) -> str:
        """Returns the text of a word or mark; strings have none."""
        at = self.at + offset
        return self.tokens[at].text if at < len(self.tokens) and self.tokens[at].kind != "string" else ""

    def module(self, end: int) -> Items:
        """Reads items up to `end`."""
        found = Items()
        while self.at < end:
            begin = self.at
            attributes = self.attributes(end)
            if any(inner and is_for_tests(attribute) for inner, attribute in attributes):
                found.of_tests = True
            outer = [attribute for inner, attribute in attributes if not inner]
            if self.at >= end:
                break
            kept = found if not any(map(is_for_tests, outer)) else Items()
            self.code(kept, begin, self.at)
            self.item(kept, outer, end)
        return found

    def attributes(self, end: int) -> list[tuple[bool, list[Token]]]:
        """Reads attributes: whether each is an inner one, and its tokens."""
        found = []
        while self.at < end and self.text() == "#" and (self.text(1) == "[" or self.text(1) + self.text(2) == "!["):
            inner = self.text(1) == "!"
            self.at += 2 if inner else 1
            begin = self.at
            self.skip_group()
            found.append((inner, self.tokens[begin + 1 : self.at - 1]))
        return found

    def skip_group(self) -> None:
        """Goes past a bracket and all in it."""
        depth = 0
        while self.at < len(self.tokens):
            text = self.text()
            self.at += 1
            if text and text in OPEN:
                depth += 1
            elif text and text in CLOSE:
                depth -= 1
                if depth == 0:
                    return

    def item(self, found: Items, attributes: list[list[Token]], end: int) -> None:
        """Reads one item."""
        public = self.text() == "pub"
        if public:
            self.at += 1
            if self.text() == "(":
                self.skip_group()
        while self.text() in QUALIFIERS and (self.tokens[self.at + 1].kind == "string" or self.text(1) in QUALIFIERS | {"fn", "impl", "trait"}):
            self.at += 1
            if self.at < end and self.tokens[self.at].kind == "string":
                self.at += 1
        word = self.text()
        if word == "use":
            self.at += 1
            self.use(found, (), public)
        elif word == "mod" and self.text(2) == ";":
            path = next((a[2].text for a in attributes if len(a) == 3 and a[0].text == "path"), None)
            found.modules.append(Declared(self.text(1), None, path))
            self.at += 3
        elif word == "mod" and self.text(2) == "{":
            name, begin = self.text(1), self.at + 2
            self.at = begin
            self.skip_group()
            after, self.at = self.at, begin + 1
            found.modules.append(Declared(name, self.module(after - 1), None))
            self.at = after
        else:
            if word == "macro_rules":
                found.defined.add(self.text(2))
            elif word in DEFINING:
                found.defined.add(self.text(2) if self.text(1) == "mut" else self.text(1))
            begin = self.at
            self.skip_item(end)
            self.code(found, begin, self.at)

    def skip_item(self, end: int) -> None:
        """Goes past an item: a semicolon or a block ends it."""
        while self.at < end:
            text = self.text()
            if text == ";":
                self.at += 1
                return
            if text and text in OPEN:
                self.skip_group()
                if text == "{":
                    return
            else:
                self.at += 1

    def use(self, found: Items, before: tuple[str, ...], public: bool) -> None:
        """Reads a tree of imports, up to the comma, brace or semicolon that ends it."""
        path = list(before)
        while self.at < len(self.tokens):
            text = self.text()
            self.at += 1
            if text == "{":
                while self.text() not in ("}", ""):
                    self.use(found, tuple(path), public)
                    if self.text() == ",":
                        self.at += 1
                self.at += 1
                path = []
            elif text == "as":
                found.uses.append(Use(tuple(path), self.text(), public))
                self.at += 1
                path = []
            elif text == "*":
                found.uses.append(Use(tuple(path), "*", public))
                path = []
            elif text in (";", ",", "}"):
                if text != ";":
                    self.at -= 1
                if len(path) > len(before) or (path and path[-1] == "self"):
                    whole = tuple(path[:-1]) if path[-1] == "self" and len(path) > 1 else tuple(path)
                    found.uses.append(Use(whole, whole[-1], public))
                return
            elif text != "::":
                path.append(text)

    def code(self, found: Items, begin: int, end: int) -> None:
        """Collects words and paths of code, and the imports within it."""
        back, self.at = self.at, begin
        while self.at < end:
            token = self.tokens[self.at]
            if token.kind == "string":
                words = tuple(token.text.split("::"))
                if len(words) > 1 and all(word.isidentifier() for word in words):
                    found.paths.add(words)
            elif token.kind == "word" and token.text == "use" and self.text(1) not in ("<", ""):
                self.at += 1
                self.use(found, (), False)
                continue
            elif token.kind == "word":
                path = [token.text]
                while self.text(1) == "::" and self.at + 2 < end and self.tokens[self.at + 2].kind == "word":
                    self.at += 2
                    path.append(self.text())
                found.words.add(path[0])
                if len(path) > 1:
                    found.paths.add(tuple(path))
            self.at += 1
        self.at = back


def is_for_tests(attribute: list[Token]) -> bool:
    """Whether an attribute keeps an item for tests: `cfg(test)`, `cfg(all(test, …))`, `test`."""
    words = [token.text for token in attribute]
    return words == ["test"] or words[:4] == ["cfg", "(", "test", ")"] or words[:5] == ["cfg", "(", "all", "(", "test"]
