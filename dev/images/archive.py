"""Write an image FROM scratch: files in one layer, as an OCI archive that Docker takes too.

The result depends on nothing but its input (no times, no owners, no order of a directory), so
the same files give the same digest. `ctr images import`, `kind load image-archive`, `docker
load`, `podman load` and `skopeo copy oci-archive:` read it.

    archive.py REF OUT.tar --file /path=HOSTPATH ... --entrypoint CMD [--user U] [--env K=V] [--label K=V]
"""

import argparse
import hashlib
import io
import json
import os
import platform
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image to be: its name and tag, its files by absolute path, and how it starts."""

    reference: str
    files: dict[str, Path]
    entrypoint: list[str]
    user: str = ""
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    architecture: str = ARCHITECTURES.get(platform.machine(), platform.machine())


def write(image: Image, out: Path) -> str:
    """Write the archive (whole or not at all) and return the manifest's digest.

    Raises `ValueError` for a reference or path that no runtime would take, `OSError` for a file
    that cannot be read.
    """
    _check(image)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        with partial.open("w+b") as stream:
            digest = _write(image, stream)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return digest


def _check(image: Image) -> None:
    name, _, tag = image.reference.rpartition(":")
    if not name or "/" not in name or "/" in tag:
        raise ValueError(f"image reference {image.reference!r}: write registry/name:tag")
    if tag == "latest":
        raise ValueError(f"image reference {image.reference!r}: kubelets always pull :latest; use another tag")
    for path in image.files:
        if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
            raise ValueError(f"path {path!r} in {image.reference}: write the absolute path of a file")


def _write(image: Image, stream: Any) -> str:
    blobs: list[tuple[dict[str, Any], bytes]] = []

    def blob(media: str, content: Any) -> dict[str, Any]:
        data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        descriptor = _descriptor(media, hashlib.sha256(data).hexdigest(), len(data))
        blobs.append((descriptor, data))
        return descriptor

    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        layer = _add_layer(archive, image.files)
        config = blob(
            "application/vnd.oci.image.config.v1+json",
            {
                "architecture": image.architecture,
                "os": "linux",
                "config": {
                    "Entrypoint": image.entrypoint,
                    "User": image.user,
                    "Env": [f"{name}={value}" for name, value in sorted(image.env.items())],
                    "Labels": image.labels,
                },
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            },
        )
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = blob(kind, {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]})
        for descriptor, data in blobs:
            _add(archive, _path(descriptor), data)
        tag = image.reference.rpartition(":")[2]
        names = {"io.containerd.image.name": image.reference, "org.opencontainers.image.ref.name": tag}
        index = {"schemaVersion": 2, "manifests": [{**manifest, "annotations": names}]}
        _add(archive, "index.json", json.dumps(index).encode())
        docker = [{"Config": _path(config), "RepoTags": [image.reference], "Layers": [_path(layer)]}]
        _add(archive, "manifest.json", json.dumps(docker).encode())
    return str(manifest["digest"])


def _add_layer(archive: tarfile.TarFile, files: dict[str, Path]) -> dict[str, Any]:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as inner:
        parents = {str(parent) for path in files for parent in Path(path).parents} - {"/"}
        for directory in sorted(parents):
            entry = tarfile.TarInfo(directory.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            inner.addfile(entry)
        for path, source in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
            with source.open("rb") as content:
                entry.size = os.fstat(content.fileno()).st_size
                inner.addfile(entry, content)
    data = layer.getbuffer()
    descriptor = _descriptor("application/vnd.oci.image.layer.v1.tar", hashlib.sha256(data).hexdigest(), len(data))
    layer.seek(0)
    entry = tarfile.TarInfo(_path(descriptor))
    entry.size, entry.mode = len(data), 0o644
    del data
    archive.addfile(entry, layer)
    return descriptor


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))


def _descriptor(media: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": size}


def _path(descriptor: dict[str, Any]) -> str:
    return f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=VALUE")
    return name, value


def main() -> None:
    """The command line at the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reference")
    parser.add_argument("out", type=Path)
    parser.add_argument("--file", type=_pair, action="append", default=[], help="/path/inside=HOSTPATH")
    parser.add_argument("--entrypoint", action="append", required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--env", type=_pair, action="append", default=[])
    parser.add_argument("--label", type=_pair, action="append", default=[])
    a = parser.parse_args()
    files = {path: Path(source) for path, source in a.file}
    write(Image(a.reference, files, a.entrypoint, a.user, dict(a.env), dict(a.label)), a.out)


if __name__ == "__main__":
    main()
