"""Does an S3 server keep the promises that checkpoints stand on? `python3 -m dev.s3.check`

Asks the server in the environment (STREAMKEEPER_TEST_S3_*, as `dev/s3/local --` sets it), else
the one in the cluster. Several servers answer 200 where S3 says 412; with one of those two
writers would both believe that they own a job.
"""

import os
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from dev.lib.s3 import S3Error
from dev.lib.seaweed import Server

RACERS = 16


def refused(status: int, action: Callable[[], object]) -> str | None:
    """Returns None if `action` is refused with that HTTP status, otherwise what happened instead."""
    try:
        action()
    except S3Error as error:
        return None if error.status == status else f"expected {status}, got {error}"
    return f"expected {status}, but it was accepted"


def promises(server: Server) -> list[tuple[str, str | None]]:
    """Each promise, and None where it holds or what was seen instead. Leaves nothing behind."""
    s3, bucket, prefix = server.client, server.bucket, f"check-{secrets.token_hex(6)}/"
    key, odd = f"{prefix}head", f"{prefix}a b+c%é=1"
    wrong = replace(s3, secret_key="x" * 40)
    created = s3.put(bucket, key, b"one", if_none_match="*")
    found: list[tuple[str, str | None]] = [
        ("create twice: the second is refused", refused(412, lambda: s3.put(bucket, key, b"x", if_none_match="*"))),
        ("update of another version is refused", refused(412, lambda: s3.put(bucket, key, b"x", if_match='"0"'))),
    ]
    s3.put(bucket, key, b"two", if_match=created)
    stale = refused(412, lambda: s3.put(bucket, key, b"x", if_match=created))
    found.append(("update of the version read is accepted, once", stale))
    content = s3.get(bucket, key)
    found.append(("refused writes leave no trace", None if content == b"two" else f"found {content!r}"))

    def race(_: int) -> bool:
        return refused(412, lambda: s3.put(bucket, f"{prefix}race", b"x", if_none_match="*")) is not None

    with ThreadPoolExecutor(RACERS) as pool:
        winners = sum(pool.map(race, range(RACERS)))
    found.append((f"{RACERS} create at once: one wins", None if winners == 1 else f"{winners} won"))
    s3.put(bucket, odd, b"odd")
    listed = sorted(entry.key for entry in s3.entries(bucket, prefix))
    expected = sorted([key, odd, f"{prefix}race"])
    found.append(("a listing holds every key", None if listed == expected else f"found {listed}"))
    found.append(("a wrong secret is refused", refused(403, lambda: wrong.get(bucket, key))))
    absent = refused(404, lambda: s3.put(f"absent-{secrets.token_hex(4)}", "x", b"x"))
    found.append(("a missing bucket is an error", absent))
    for entry in list(s3.entries(bucket, prefix)):
        s3.delete(bucket, entry.key)
    left = [entry.key for entry in s3.entries(bucket, prefix)]
    found.append(("what was deleted is gone", None if not left else f"found {left}"))
    return found


def report(server: Server) -> int:
    """Print every promise; 0 when all hold."""
    print(f"S3 at {server.endpoint}, bucket {server.bucket}")
    try:
        answers = promises(server)
    except S3Error as error:
        print(f"  FAIL it does not respond: {error}")
        return 1
    for promise, seen in answers:
        print(f"  {'ok  ' if seen is None else 'FAIL'} {promise}{'' if seen is None else ': ' + seen}")
    failed = sum(seen is not None for _, seen in answers)
    print(f"{len(answers) - failed} of {len(answers)} promises hold")
    return 1 if failed else 0


def main() -> int:
    """Find the server and check it."""
    here = os.environ.get("STREAMKEEPER_TEST_S3_ENDPOINT")
    if here:
        names = ("STREAMKEEPER_TEST_S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        return report(Server(here, *(os.environ[name] for name in names)))
    from dev.lib.cluster import choose
    from dev.s3.install import connect

    with connect(choose()) as server:
        return report(server)


if __name__ == "__main__":
    sys.exit(main())
