"""Which replica of the operator leads, and which stand by."""

from dev.demo.story import OPERATOR_NAMESPACE, OPERATOR_SELECTOR
from dev.lib import wait
from dev.lib.kubectl import CommandFailed, Kubectl, conditions

LEASE = "streamkeeper"


def holder(kubectl: Kubectl) -> tuple[str, str]:
    """Returns the pod that holds the Lease, and which life of its process; both are empty if no pod holds it."""
    lease = kubectl.at(OPERATOR_NAMESPACE).get("lease", LEASE)
    pod, _, life = (lease["spec"].get("holderIdentity") or "").rpartition("_")
    return pod, life


def wait_successor(kubectl: Kubectl, before: tuple[str, str], seconds: float) -> str:
    """Waits until another process leads, of any replica. Returns its pod."""

    def look() -> str | wait.Pending:
        now = holder(kubectl)
        return now[0] if now[0] and now != before else wait.Pending(f"{now[0] or 'no replica'} leads")

    return wait.until(f"another operator than {before[0]} to lead", look, seconds, retry=(CommandFailed,))


def ready(kubectl: Kubectl) -> list[str]:
    """Returns the pods of the operator that are ready and not being deleted."""
    pods = kubectl.at(OPERATOR_NAMESPACE).objects("pods", OPERATOR_SELECTOR)
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return sorted(pod["metadata"]["name"] for pod in live if conditions(pod).get("Ready", {}).get("status") == "True")
