"""Puts the S3 server into the cluster and waits until it responds: `python3 -m dev.s3.install`

The image must have been loaded (`python3 -m dev.images seaweedfs`).
"""

import base64
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.lib import narrate, wait
from dev.lib.cluster import Cluster, Unsupported, choose
from dev.lib.kubectl import CommandFailed, Kubectl, Object
from dev.lib.s3 import S3Error
from dev.lib.seaweed import Server

NAMESPACE, SERVICE, PORT, BUCKET, SECRET = "storage", "s3", 8333, "streamkeeper", "s3-credentials"
ENDPOINT = f"http://{SERVICE}.{NAMESPACE}.svc.cluster.local:{PORT}"
"""How pods reach it. From this host: `connect`."""


def install(cluster: Cluster, on_pending: Callable[[str], None] | None = None) -> None:
    """Apply the manifest with new credentials (kept if there are some) and wait until it works."""
    kubectl = cluster.kubectl.at(NAMESPACE)
    manifest = (Path(__file__).parent / "seaweedfs.yaml").read_text()
    namespace, _, rest = manifest.partition("---\n")
    kubectl.apply(namespace)
    if kubectl.find("secret", SECRET) is None:
        kubectl.apply(credentials(NAMESPACE, SECRET, secrets.token_hex(10), secrets.token_hex(20)))
    kubectl.apply(rest)
    kubectl.wait_rollout("deployment", "seaweedfs", 120, on_pending)
    with connect(cluster) as server:
        wait.until(f"a signed answer from {server.endpoint}", server.ready, 60, retry=(S3Error,), on_pending=on_pending)


@contextmanager
def connect(cluster: Cluster) -> Iterator[Server]:
    """The server as this host reaches it, with its credentials."""
    access, secret = keys(cluster.kubectl)
    with cluster.reach(NAMESPACE, SERVICE, PORT) as address:
        yield Server(f"http://{address}", BUCKET, access, secret)


def keys(kubectl: Kubectl) -> tuple[str, str]:
    """The access key and the secret key in the cluster's Secret."""
    data = kubectl.at(NAMESPACE).get("secret", SECRET)["data"]
    access, secret = (base64.b64decode(data[f"AWS_{name}"]).decode() for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    return access, secret


def credentials(namespace: str, name: str, access_key: str, secret_key: str) -> Object:
    """A Secret with the two variables that every S3 client reads; fits `envFrom`."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
    }


def main() -> int:
    """Install into the chosen cluster."""
    cluster = choose()
    with narrate.Step(f"S3 server in namespace {NAMESPACE}", usually="10 s") as step:
        install(cluster, step.update)
        step.result(ENDPOINT)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandFailed, Unsupported, wait.Timeout, subprocess.CalledProcessError) as error:
        sys.exit(f"s3: {error}")
