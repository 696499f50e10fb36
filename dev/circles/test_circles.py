"""A planted circle is found, and nothing else is taken for one."""

import tempfile
import unittest
from pathlib import Path

from dev.circles.__main__ import read, report
from dev.circles.graph import Graph
from dev.circles.items import items
from dev.circles.tokens import tokens

MANIFEST = '[package]\nname = "our-{name}"\n[dependencies]\n'


class Planted(unittest.TestCase):
    """Trees of files that are written for one test each."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            place = self.root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def crate(self, files: dict[str, str], name: str = "one") -> None:
        """Writes a crate into a folder of its name."""
        self.write({f"{name}/Cargo.toml": MANIFEST.format(name=name), **{f"{name}/src/{file}": text for file, text in files.items()}})

    def found(self, *, parents: bool = False) -> list[list[str]]:
        """Circles, each with the names of its files."""
        circles = read(self.root, parents=parents).circles()
        return [[str(file.relative_to(self.root)) for file in circle] for circle in circles]


class Rust(Planted):
    def test_two_files_that_import_each_other_are_a_circle(self) -> None:
        self.crate({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "use super::a::{self, A}; pub struct B;"})
        self.assertEqual(self.found(), [["one/src/a.rs", "one/src/b.rs"]])
        self.assertIn("one/src/a.rs -> one/src/b.rs: B", report(read(self.root), self.root))

    def test_one_direction_is_no_circle(self) -> None:
        self.crate({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "pub struct B;"})
        self.assertEqual(self.found(), [])

    def test_paths_in_code_and_nested_braces_count(self) -> None:
        a = "pub fn f() { let x = super::b::deep::g::<u8>(); }"
        deep = "use crate::{x::{Y}, a::{f as h}}; pub fn g<T>() {}"
        self.crate({"lib.rs": "mod a; mod b; mod x;", "a.rs": a, "b.rs": "pub mod deep;", "b/deep.rs": deep, "x.rs": "pub struct Y;"})
        self.assertEqual(self.found(), [["one/src/a.rs", "one/src/b/deep.rs"]])

    def test_a_face_is_followed_to_the_file_that_defines(self) -> None:
        face = "mod inner; mod other; pub use inner::Thing; pub use other::*;"
        inner = "pub struct Thing; fn f(x: crate::user::User) {}"
        self.crate({"lib.rs": "mod face; mod user;", "face/mod.rs": face, "face/inner.rs": inner, "face/other.rs": "pub struct Free;"})
        self.write({"one/src/user.rs": "use crate::face::{Free, Thing}; pub struct User;"})
        self.assertEqual(self.found(), [["one/src/face/inner.rs", "one/src/user.rs"]])

    def test_declaring_a_module_is_no_arrow_and_what_contains_it_counts_on_request(self) -> None:
        self.crate({"lib.rs": "mod a; pub struct Top; fn f() { a::g(); }", "a.rs": "pub fn g() -> super::Top { super::Top }"})
        self.assertEqual(self.found(), [])
        self.assertEqual(self.found(parents=True), [["one/src/a.rs", "one/src/lib.rs"]])

    def test_what_only_tests_import_is_left_out(self) -> None:
        tests = "#[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::A; #[test] fn t() { crate::a::f(); }"
        self.crate({"lib.rs": "mod a; mod b; #[cfg(test)] mod c;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": f"{tests} pub struct B;"})
        self.write({"one/src/c.rs": "use crate::a::A;", "one/tests/it.rs": "use our_one::a::A;"})
        self.assertEqual(self.found(), [])

    def test_comments_and_strings_are_no_code(self) -> None:
        b = """/* crate::a::A /* nested */ crate::a::A */ // crate::a::A
            pub const B: &str = "use crate::a::A; \\" "; const C: &str = r#"crate::a::A "x" "#; const D: char = '"'; fn f<'a>(x: &'a str) {}"""
        self.crate({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": b})
        self.assertEqual(self.found(), [])

    def test_a_path_in_an_attribute_counts(self) -> None:
        b = 'pub struct B { #[serde(with = "crate::a::text")] x: u8 }'
        self.crate({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub mod text {}", "b.rs": b})
        self.assertEqual(self.found(), [])
        self.write({"one/src/a.rs": "use crate::b::B; pub fn text() {}"})
        self.assertEqual(self.found(), [["one/src/a.rs", "one/src/b.rs"]])

    def test_crates_are_found_by_their_manifests_and_by_other_names(self) -> None:
        two = MANIFEST.format(name="two") + 'first = { package = "our-one", path = "../one" }\n'
        self.crate({"lib.rs": "pub mod a;", "a.rs": "use our_two::b::B; pub struct A;"})
        self.write({"deep/two/Cargo.toml": two, "deep/two/src/lib.rs": "pub mod b;", "deep/two/src/b.rs": "use first::a::A; pub struct B;"})
        self.assertEqual(self.found(), [["deep/two/src/b.rs", "one/src/a.rs"]])

    def test_a_glob_counts_for_the_names_that_are_used(self) -> None:
        self.crate({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::*; pub struct A(B);", "b.rs": "use crate::a::*; pub struct B;"})
        self.assertEqual(self.found(), [])
        self.write({"one/src/b.rs": "use crate::a::*; pub struct B(Box<A>);"})
        self.assertEqual(self.found(), [["one/src/a.rs", "one/src/b.rs"]])

    def test_a_module_in_another_place_is_found(self) -> None:
        self.crate({"lib.rs": '#[path = "../else/a.rs"] mod a; mod b;', "b.rs": "use crate::a::A; pub struct B;"})
        self.write({"one/else/a.rs": "use crate::b::B; pub struct A;"})
        self.assertEqual(self.found(), [["one/else/a.rs", "one/src/b.rs"]])


class Python(Planted):
    def test_two_files_that_import_each_other_are_a_circle(self) -> None:
        self.write({"dev/a.py": "from dev.pack.b import f", "dev/pack/b.py": "def f():\n    from dev import a\n"})
        self.assertEqual(self.found(), [["dev/a.py", "dev/pack/b.py"]])

    def test_a_package_is_followed_and_tests_are_left_out(self) -> None:
        self.write({"dev/pack/__init__.py": "from .b import f", "dev/pack/b.py": "import dev.a", "dev/a.py": "from dev.pack import f"})
        self.assertEqual(self.found(), [["dev/a.py", "dev/pack/b.py"]])
        self.write({"dev/a.py": "", "dev/test_a.py": "from dev.pack import f"})
        self.assertEqual(self.found(), [])


class Parts(unittest.TestCase):
    def test_a_long_circle_and_two_apart(self) -> None:
        graph = Graph()
        for source, target in ("ab", "bc", "ca", "cd", "de", "ed", "ef"):
            graph.add(Path(source), Path(target), "x")
        self.assertEqual(graph.circles(), [[Path("a"), Path("b"), Path("c")], [Path("d"), Path("e")]])

    def test_a_tree_of_imports_is_read(self) -> None:
        read_ = items(tokens("pub use a::{self, b::{C as D, *}, e::F}; const fn g() {} unsafe impl X for Y {}"))
        found = {(use.path, use.alias) for use in read_.uses}
        self.assertEqual(found, {(("a",), "a"), (("a", "b", "C"), "D"), (("a", "b"), "*"), (("a", "e", "F"), "F")})
        self.assertEqual(read_.defined, {"g"})


if __name__ == "__main__":
    unittest.main()
