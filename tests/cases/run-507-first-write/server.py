"""S3 that is not there yet for the first writes: more of them than the client repeats by itself."""
from dev.cases.store import Refusal, Store, serve

REFUSED = 8


class Late(Store):
    writes = 0

    def check(self, method: str, path: str) -> None:
        self.writes += method == "PUT"
        if method == "PUT" and self.writes <= REFUSED:
            raise Refusal(503, "SlowDown", "try again later")


serve(Late())
