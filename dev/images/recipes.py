"""The images of this repository: which binaries they hold, and how they get into a cluster."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.images.archive import Image, write
from dev.lib import seaweed
from dev.lib.paths import CACHE, CARGO_TARGET, ROOT

OPERATOR = "localhost/streamkeeper-operator:dev"
RUNTIME = "localhost/streamjob-runtime:dev"
SEAWEEDFS = f"localhost/seaweedfs:{seaweed.VERSION}"
# The operator as another commit has it, or as this one has it under another name.
PREVIOUS = "localhost/streamkeeper-operator:previous"
REFERENCES = {"operator": OPERATOR, "runtime": RUNTIME, "seaweedfs": SEAWEEDFS}

_BINARIES = {"operator": "streamkeeper", "runtime": "streamjob-runtime"}
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Built:
    """An archive on disk, ready to be loaded."""

    reference: str
    archive: Path
    digest: str

    @property
    def megabytes(self) -> float:
        """Size of the image's files: archives are not compressed."""
        return self.archive.stat().st_size / 1e6


class BuildFailed(Exception):
    """Cargo could not build; the message is what it said."""


# One small test beside the binaries: Cargo then compiles dependencies with the features that tests need, and tests find
# them compiled. Without it tokio, and all that stands on it, would be compiled twice. Never for published images.
SHARED = ["--test", "documentation"]


def build(names: list[str], profile: str = "dev", on_progress: Callable[[str], None] | None = None) -> list[Built]:
    """Build the named images (`operator`, `runtime`, `seaweedfs`) and return them in that order.

    `profile` is Cargo's; `dev` shares everything compiled with the tests. `on_progress` hears
    Cargo's lines (`Step.update` fits). Raises `BuildFailed`.
    """
    wanted = [_BINARIES[name] for name in names if name in _BINARIES]
    programs = cargo_build(wanted, profile, on_progress) if wanted else {}
    return [_image(name, programs) for name in names]


def previous_operator(source: Path, on_progress: Callable[[str], None] | None = None) -> Built:
    """Build the operator of another checkout, or of this one, as `PREVIOUS`. Raises `BuildFailed`."""
    # Two checkouts must not share a target folder: Cargo may take what one built for the other's.
    target = CARGO_TARGET if source == ROOT else CACHE / "previous" / "target"
    program = cargo_build(["streamkeeper"], "dev", on_progress, source, target)["streamkeeper"]
    out = CACHE / "images" / "previous"
    out.mkdir(parents=True, exist_ok=True)
    return _written("operator", PREVIOUS, "/streamkeeper", _stripped(program, out), out)


def cargo_build(
    binaries: list[str],
    profile: str = "dev",
    on_progress: Callable[[str], None] | None = None,
    source: Path = ROOT,
    target: Path = CARGO_TARGET,
) -> dict[str, Path]:
    """Compile binaries of the workspace in `source`; where each one is, by name. Raises `BuildFailed`."""
    chosen = [argument for binary in binaries for argument in ("--bin", binary)]
    if profile == "dev":
        chosen += SHARED
    command = ["cargo", "build", "--workspace", "--locked", "--profile", profile, *chosen]
    command += ["--target-dir", str(target), "--message-format=json-render-diagnostics"]
    said: list[str] = []
    with tempfile.TemporaryFile("w+") as messages:
        none, pipe = subprocess.DEVNULL, subprocess.PIPE
        with subprocess.Popen(command, cwd=source, text=True, stdin=none, stdout=messages, stderr=pipe) as cargo:
            for line in cargo.stderr or []:
                said.append(line)
                if on_progress is not None and line.strip():
                    on_progress(line.strip())
        if cargo.returncode:
            raise BuildFailed(f"`{' '.join(command)}` fails:\n{''.join(said[-60:])}")
        messages.seek(0)
        built = [json.loads(line) for line in messages]
    return {m["target"]["name"]: Path(m["executable"]) for m in built if m.get("executable")}


def _image(name: str, programs: dict[str, Path]) -> Built:
    out = CACHE / "images"
    out.mkdir(parents=True, exist_ok=True)
    if name == "seaweedfs":
        program, path = seaweed.install(), "/weed"
    else:
        path = f"/{_BINARIES[name]}"
        program = _stripped(programs[_BINARIES[name]], out)
    return _written(name, REFERENCES[name], path, program, out)


def digest(reference: str) -> str:
    """Digest of what was last built as `reference`: a tag stays, its content does not."""
    folder, name = CACHE / "images", next((name for name, known in REFERENCES.items() if known == reference), "operator")
    archive = (folder / "previous" if reference == PREVIOUS else folder) / f"{name}.tar"
    with tarfile.open(archive) as tar, tar.extractfile("index.json") as index:  # type: ignore[union-attr]
        return str(json.load(index)["manifests"][0]["digest"])


def _written(name: str, reference: str, path: str, program: Path, out: Path) -> Built:
    image = Image(
        reference,
        {path: program, _CERTIFICATES: Path(_CERTIFICATES)},
        [path],
        user="65532:65532",
        env={"SSL_CERT_FILE": _CERTIFICATES},
        labels={"org.opencontainers.image.title": name, "org.opencontainers.image.licenses": "Apache-2.0"},
    )
    archive = out / f"{name}.tar"
    return Built(reference, archive, write(image, archive))


def _stripped(program: Path, out: Path) -> Path:
    _require_static(program)
    require_guarded(program)
    copy = out / program.name
    if shutil.which("strip"):
        subprocess.run(["strip", "-o", str(copy), str(program)], check=True)
    else:
        shutil.copy2(program, copy)
    return copy


def require_guarded(program: Path) -> None:
    """Refuse a program whose guards can be switched off, as those built for negative controls."""
    if b"STREAMKEEPER_TEST_" in program.read_bytes():
        raise ValueError(f"{program} can switch guards off; was it built with features of tests?")


def _require_static(program: Path) -> None:
    # An image FROM scratch has no loader: a dynamic program would fail with "no such file".
    with program.open("rb") as stream:
        header = stream.read(64)
        start, size, count = (int.from_bytes(header[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
        stream.seek(start)
        kinds = [int.from_bytes(stream.read(size)[:4], "little") for _ in range(count)]
    if 3 in kinds:  # PT_INTERP
        raise ValueError(f"{program} is not static; was it built without the rustflags of .cargo/config.toml?")
