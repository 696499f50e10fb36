"""What tools that render the chart without a cluster make of its keys and its CRDs."""

import subprocess
import tarfile
import tempfile
from pathlib import Path

from dev.attack.attack import Attack, Succeeded
from dev.attack.world import World
from dev.demo import run
from dev.lib.kubectl import CommandFailed, command
from dev.lib.paths import ROOT

CRDS = ("streamjobs.streamkeeper.dev", "streamsnapshots.streamkeeper.dev")


def rendered(world: World, chart: Path, *settings: str) -> str:
    """`helm template`, without a cluster."""
    helm = world.cluster.kubectl.helm_binary
    return command([helm, "template", run.RELEASE, str(chart), "--namespace", "streamkeeper", *(part for value in settings for part in ("--set", value))])


def new_master_key(world: World) -> str:
    """Each sync of a tool without `lookup` makes a new master key."""
    try:
        text = rendered(world, run.CHART)
    except CommandFailed as error:
        if "existingSecret" not in error.stderr:
            raise Succeeded(f"the refusal does not name existingSecret: {error.stderr}") from error
        own = [rendered(world, run.CHART, "tls.existingSecret=keys") for _ in range(2)]
        if own[0] != own[1]:
            raise Succeeded("two renderings with existingSecret differ") from error
        if "kind: Secret\n" in own[0]:
            raise Succeeded("a Secret is rendered beside existingSecret") from error
        return next(line for line in error.stderr.splitlines() if "existingSecret" in line).strip()
    if "master.key" in text and text != rendered(world, run.CHART):
        raise Succeeded("two renderings hold two master keys")
    raise Succeeded("rendering without a cluster is not refused")


def without_symlinks(world: World) -> str:
    """The chart as a source controller takes it out of Git: links are dropped."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD", "charts/streamkeeper"], check=True, capture_output=True).stdout
        taken = Path(folder) / "chart.tar"
        taken.write_bytes(archive)
        with tarfile.open(taken) as tar:
            tar.extractall(folder, members=[member for member in tar.getmembers() if not member.issym()])
        text = rendered(world, Path(folder) / "charts" / "streamkeeper", "tls.existingSecret=keys")
    missing = [name for name in CRDS if f"name: {name}\n" not in text]
    if missing:
        raise Succeeded(f"rendered without {missing}, and nothing says so")
    return "both CRDs are rendered from real files"


ATTACKS = [
    Attack("the chart rendered twice without a cluster", new_master_key),
    Attack("the chart taken from Git without its links", without_symlinks),
]
