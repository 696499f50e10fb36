"""Rust as tokens, without comments."""

import re
from typing import NamedTuple

PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<line>//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>(?:b|c)?r(?P<hashes>\#*)"(?P<content>.*?)"(?P=hashes))
  | (?P<string>(?:b|c)?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:u\{[^}]*\}|x[0-9a-fA-F]{2}|.)|[^\\'\n])')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<word>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>[0-9][\w]*)
  | (?P<mark>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
BLOCK = re.compile(r"/\*|\*/")


class Token(NamedTuple):
    """A word, a string or a mark of punctuation."""

    kind: str
    text: str


def tokens(text: str) -> list[Token]:
    """Returns words, strings (their content) and marks. Comments, characters, lifetimes and numbers are left out."""
    found, at = [], 0
    while at < len(text):
        match = PATTERN.match(text, at)
        assert match is not None
        at = match.end()
        if match["block"]:
            at = _after_block(text, at)
        elif match["word"]:
            found.append(Token("word", match["word"].removeprefix("r#")))
        elif match["raw"]:
            found.append(Token("string", match["content"]))
        elif match["string"]:
            found.append(Token("string", match["string"].lstrip("bc")[1:-1]))
        elif match["mark"]:
            found.append(Token("mark", match["mark"]))
    return found


def _after_block(text: str, at: int) -> int:
    """Returns the place after a block comment, which may hold others."""
    depth = 1
    while depth:
        match = BLOCK.search(text, at)
        if match is None:
            return len(text)
        depth += 1 if match.group() == "/*" else -1
        at = match.end()
    return at
