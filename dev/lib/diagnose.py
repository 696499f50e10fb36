"""What to show when a story on a cluster fails: pods, events, logs, custom resources."""

from dev.lib.kubectl import CommandFailed, Kubectl, Object, pod_summary

QUIET = ("kube-system", "kube-public", "kube-node-lease")


def report(kubectl: Kubectl, *, events: int = 30, lines: int = 40) -> str:
    """State of the whole cluster in words; what cannot be read is said, never raised."""
    sections: list[str] = []

    def section(title: str, *arguments: str) -> None:
        try:
            text = kubectl.run(*arguments, timeout=20).rstrip()
        except (CommandFailed, OSError, TimeoutError) as error:
            text = f"cannot be read: {error}"
        sections.append(f"--- {title}\n{text}")

    section("nodes", "get", "nodes", "-o", "wide")
    pods = _pods(kubectl)
    sections.append("--- pods\n" + "\n".join(f"{p['metadata']['namespace']}/{pod_summary(p)}" for p in pods))
    section("stream jobs", "get", "streamjobs.streamkeeper.dev", "-A", "-o", "yaml")
    last = ["-o", "custom-columns=AT:.lastTimestamp,NS:.metadata.namespace,ABOUT:.involvedObject.name,WHY:.reason,SAYS:.message"]
    section("events", "get", "events", "-A", "--sort-by=.metadata.creationTimestamp", *last)
    head, *rows = sections[-1].split("\n")
    sections[-1] = "\n".join([head, *rows[-events:]])
    for pod in pods:
        place = pod["metadata"]["namespace"], pod["metadata"]["name"]
        section(f"log of {'/'.join(place)}", "logs", "-n", *place, "--all-containers", f"--tail={lines}")
        if any(c["restartCount"] for c in pod.get("status", {}).get("containerStatuses", [])):
            section(f"log before its restart, {'/'.join(place)}", "logs", "-n", *place, "--previous", f"--tail={lines}")
    return "\n".join(sections)


def _pods(kubectl: Kubectl) -> list[Object]:
    try:
        return [p for p in kubectl.objects("pods", everywhere=True) if p["metadata"]["namespace"] not in QUIET]
    except (CommandFailed, OSError):
        return []
