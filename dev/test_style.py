"""Rules of CONTRIBUTING.md that a program can hold."""

import subprocess
import unittest

from dev.lib.paths import ROOT

WIDTH = 100
"""Columns of a comment."""


def long_comments(text: str) -> list[int]:
    """Numbers of the lines of Rust that are comments and too wide. Tables and diagrams may be."""
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


class Style(unittest.TestCase):
    def test_a_long_comment_is_found_and_long_code_is_not(self) -> None:
        wide = "x" * WIDTH
        text = "\n".join([f"/// {wide}", f"let {wide} = 1;", f"//! | {wide} |", "//! ```text", f"//! {wide}", "//! ```", f"    // {wide}"])
        self.assertEqual(long_comments(text), [1, 7])

    def test_comments_are_wrapped(self) -> None:
        listed = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, check=True, capture_output=True, text=True)
        files = listed.stdout.split()
        self.assertTrue(files)
        found = [f"{file}:{number}" for file in files for number in long_comments((ROOT / file).read_text())]
        self.assertEqual(found, [], f"comments wider than {WIDTH} columns")


if __name__ == "__main__":
    unittest.main()
