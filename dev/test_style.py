"""Rules of CONTRIBUTING.md that a program can hold."""

import io
import re
import subprocess
import tokenize
import unittest

from dev.lib.paths import ROOT

WIDTH = 100
"""Columns of a comment."""
BANNED = re.compile(r"\b(whoever|nobody|somebody|anybody|the same of)\b", re.IGNORECASE)
"""Words that leave open who acts, and a phrase that is read twice."""
ANSWERS = re.compile(r"\AAnswers?\b")
"""How no doc comment starts: it says what it returns, or what it is."""


def long_comments(text: str) -> list[int]:
    """Returns the numbers of the lines of Rust that are comments and too wide. Tables and diagrams may be."""
    found, verbatim = [], False
    for number, line in enumerate(text.splitlines(), 1):
        comment = line.strip()
        if not comment.startswith("//"):
            verbatim = False
            continue
        words = comment.lstrip("/!").strip()
        if words.startswith("```"):
            verbatim = not verbatim
        if len(line) > WIDTH and not verbatim and not words.startswith("|"):
            found.append(number)
    return found


def banned(name: str, text: str) -> int:
    """Returns how many banned words the prose of a file has."""
    prose = _prose(name, text)
    return sum(len(BANNED.findall(block)) + len(ANSWERS.findall(block.strip())) for block in prose)


def _prose(name: str, text: str) -> list[str]:
    """Returns the comments of a file, or the text of a page without what it quotes."""
    if name.endswith(".rs"):
        return _blocks(text, r"^\s*//[/!]?(.*)$|\s//\s(.*)$")
    if name.endswith(".py"):
        return _python(text)
    if name.endswith(".md"):
        text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
        return re.split(r"\n\s*\n", re.sub(r"`[^`]*`", "", text))
    return _blocks(text, r"^\s*#(.*)$")


def _blocks(text: str, comment: str) -> list[str]:
    """Returns comments; those on lines that follow each other are one."""
    found = [""]
    for line in text.splitlines():
        match = re.search(comment, line)
        if match:
            found[-1] += " ".join(group for group in match.groups() if group) + " "
        elif found[-1]:
            found.append("")
    return [" ".join(block.split()) for block in found]


def _python(text: str) -> list[str]:
    """Returns docstrings and comments."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            found.append(token.string.lstrip("# "))
        elif token.type == tokenize.STRING and token.string.startswith('"""'):
            found.append(" ".join(token.string[3:-3].split()))
    return found


def files(*patterns: str) -> list[str]:
    """Returns the files of the repository that match."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [file for file in listed.stdout.split() if (ROOT / file).is_file()]


def with_banned_words() -> dict[str, int]:
    """Returns the files whose prose has banned words, and how many."""
    texts = files("*.rs", "*.py", "*.md", "Makefile", "*.toml", "*.yaml", "*.Dockerfile")
    found = {file: banned(file, (ROOT / file).read_text()) for file in texts}
    return {file: count for file, count in found.items() if count}


class Style(unittest.TestCase):
    def test_a_long_comment_is_found_and_long_code_is_not(self) -> None:
        wide = "x" * WIDTH
        text = "\n".join([f"/// {wide}", f"let {wide} = 1;", f"//! | {wide} |", "//! ```text", f"//! {wide}", "//! ```", f"    // {wide}"])
        self.assertEqual(long_comments(text), [1, 7])

    def test_comments_are_wrapped(self) -> None:
        listed = files("*.rs")
        self.assertTrue(listed)
        found = [f"{file}:{number}" for file in listed for number in long_comments((ROOT / file).read_text())]
        self.assertEqual(found, [], f"comments wider than {WIDTH} columns")

    def test_banned_words_are_found_in_comments_and_not_in_code(self) -> None:
        self.assertEqual(banned("a.rs", "/// Answers with it. Whoever asks, the\n/// same of it.\nlet nobody = 1; // nobody\n"), 4)
        self.assertEqual(banned("a.rs", 'let x = "nobody"; // it works\nfn nobody_asks() {}'), 0)
        self.assertEqual(banned("a.py", '"""Answers nobody."""\nnobody = "anybody"  # somebody\n'), 3)
        self.assertEqual(banned("a.md", "Whoever\n\n```\nnobody\n```\n\nsays `nobody` to anybody.\n"), 2)
        self.assertEqual(banned("a.md", "It asks: nobody\nanswers. Answers follow.\n"), 1)

    def test_no_file_has_banned_words(self) -> None:
        self.assertEqual(with_banned_words(), {}, f"banned words: {BANNED.pattern}, or a comment that starts with Answers")


if __name__ == "__main__":
    unittest.main()
