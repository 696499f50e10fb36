import tempfile
import unittest
from pathlib import Path

from dev.images.recipes import require_guarded


class GuardedTest(unittest.TestCase):
    def program(self, content: bytes) -> Path:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        program = Path(scratch.name) / "program"
        program.write_bytes(content)
        return program

    def test_a_program_whose_guards_can_be_switched_off_gets_into_no_image(self) -> None:
        with self.assertRaisesRegex(ValueError, "features of tests"):
            require_guarded(self.program(b"\x7fELF ... STREAMKEEPER_TEST_ACTS_FIRST ..."))

    def test_any_other_does(self) -> None:
        require_guarded(self.program(b"\x7fELF ... STREAMKEEPER_LOG ..."))
