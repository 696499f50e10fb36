import json
import os
import stat
import tarfile
import tempfile
import unittest
from hashlib import sha256
from pathlib import Path

from dev.images.archive import Image, write


class ArchiveTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = Path(scratch.name)
        self.program = self.dir / "program"
        self.program.write_bytes(b"\x7fELF pretend")
        self.program.chmod(0o700)
        self.text = self.dir / "text"
        self.text.write_text("certificates")
        self.image = Image(
            "localhost/thing:dev",
            {"/bin/program": self.program, "/etc/ssl/certs/ca.crt": self.text},
            ["/bin/program", "serve"],
            user="65532:65532",
            env={"B": "2", "A": "1"},
            labels={"org.opencontainers.image.title": "thing"},
        )

    def read(self, out: Path) -> dict[str, bytes]:
        with tarfile.open(out) as archive:
            return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]

    def test_every_descriptor_has_its_blob_with_that_digest_and_size(self) -> None:
        digest = write(self.image, self.dir / "out.tar")
        files = self.read(self.dir / "out.tar")
        top = json.loads(files["index.json"])["manifests"][0]
        self.assertEqual(top["digest"], digest)
        manifest = json.loads(files["blobs/sha256/" + digest.split(":")[1]])
        for descriptor in [top, manifest["config"], *manifest["layers"]]:
            data = files["blobs/sha256/" + descriptor["digest"].split(":")[1]]
            self.assertEqual("sha256:" + sha256(data).hexdigest(), descriptor["digest"])
            self.assertEqual(len(data), descriptor["size"])
        self.assertEqual(json.loads(files["oci-layout"]), {"imageLayoutVersion": "1.0.0"})

    def test_the_config_says_how_to_start_and_as_whom(self) -> None:
        write(self.image, self.dir / "out.tar")
        files = self.read(self.dir / "out.tar")
        docker = json.loads(files["manifest.json"])[0]
        self.assertEqual(docker["RepoTags"], ["localhost/thing:dev"])
        config = json.loads(files[docker["Config"]])
        self.assertEqual(
            config["config"],
            {
                "Entrypoint": ["/bin/program", "serve"],
                "User": "65532:65532",
                "Env": ["A=1", "B=2"],
                "Labels": {"org.opencontainers.image.title": "thing"},
            },
        )
        layer = files[docker["Layers"][0]]
        self.assertEqual(config["rootfs"]["diff_ids"], ["sha256:" + sha256(layer).hexdigest()])

    def test_the_layer_is_owned_by_root_and_only_root_may_write(self) -> None:
        write(self.image, self.dir / "out.tar")
        files = self.read(self.dir / "out.tar")
        layer = self.dir / "layer.tar"
        layer.write_bytes(files[json.loads(files["manifest.json"])[0]["Layers"][0]])
        with tarfile.open(layer) as inner:
            members = inner.getmembers()
        self.assertEqual(
            [m.name for m in members], ["bin", "etc", "etc/ssl", "etc/ssl/certs", "bin/program", "etc/ssl/certs/ca.crt"]
        )
        for member in members:
            self.assertEqual((member.uid, member.gid, member.mtime), (0, 0, 0))
            self.assertFalse(member.mode & (stat.S_IWGRP | stat.S_IWOTH), member.name)
        self.assertEqual([oct(m.mode) for m in members[-2:]], ["0o755", "0o644"])

    def test_the_same_files_give_the_same_archive(self) -> None:
        write(self.image, self.dir / "one.tar")
        os.utime(self.program, (1, 1))
        write(self.image, self.dir / "two.tar")
        self.assertEqual((self.dir / "one.tar").read_bytes(), (self.dir / "two.tar").read_bytes())

    def test_a_reference_that_kubelets_would_pull_is_refused(self) -> None:
        for reference in ["localhost/thing:latest", "localhost/thing", "thing:1"]:
            with self.assertRaisesRegex(ValueError, "image reference"):
                write(Image(reference, {}, ["/x"]), self.dir / "out.tar")

    def test_a_path_that_leaves_the_image_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "absolute path"):
            write(Image("localhost/x:1", {"/../etc/passwd": self.text}, ["/x"]), self.dir / "out.tar")

    def test_a_file_that_is_missing_leaves_no_archive_behind(self) -> None:
        with self.assertRaises(FileNotFoundError):
            write(Image("localhost/x:1", {"/x": self.dir / "absent"}, ["/x"]), self.dir / "out.tar")
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["program", "text"])


if __name__ == "__main__":
    unittest.main()
