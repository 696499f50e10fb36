"""S3 in another region."""
from dev.cases.store import Refusal, Store, serve


class Elsewhere(Store):
    def check(self, method: str, path: str) -> None:
        raise Refusal(400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-central-1'")


serve(Elsewhere())
