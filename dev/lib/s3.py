"""A small S3 client: signature version 4, path style, conditional writes. Not for production."""

import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

_EMPTY = hashlib.sha256(b"").hexdigest()


class Entry(NamedTuple):
    """One object of a listing. `etag` keeps its quotes, as the conditional headers want it."""

    key: str
    size: int
    etag: str


class S3Error(Exception):
    """The server refused. `status` is HTTP's (0: no answer), `code` S3's own word for it."""

    def __init__(self, status: int, code: str, what: str, message: str) -> None:
        super().__init__(f"{what}: HTTP {status} {code} {message}".rstrip())
        self.status = status
        self.code = code


@dataclass(frozen=True)
class S3:
    """One server (`endpoint` like `http://host:8333`) with one pair of credentials."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    timeout: float = 30

    def put(
        self, bucket: str, key: str, body: bytes, *, if_none_match: str | None = None, if_match: str | None = None
    ) -> str:
        """Write an object and return its ETag. `if_none_match="*"`: only create; `if_match=etag`:
        only replace that version; otherwise `S3Error` with status 412."""
        headers = {}
        if if_none_match is not None:
            headers["if-none-match"] = if_none_match
        if if_match is not None:
            headers["if-match"] = if_match
        return self._request("PUT", bucket, key, headers=headers, body=body)[0].get("etag", "")

    def get(self, bucket: str, key: str) -> bytes:
        """The whole content."""
        return self._request("GET", bucket, key)[1]

    def head(self, bucket: str, key: str = "") -> dict[str, str] | None:
        """Response headers (lower case) of an object, or of the bucket itself; None: not there."""
        try:
            return self._request("HEAD", bucket, key)[0]
        except S3Error as error:
            if error.status == 404:
                return None
            raise

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; fine when it is not there."""
        self._request("DELETE", bucket, key)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; fine when it is ours already."""
        try:
            self._request("PUT", bucket, "")
        except S3Error as error:
            if error.status != 409:
                raise

    def entries(self, bucket: str, prefix: str = "") -> Iterator[Entry]:
        """Every object below `prefix` in key order, page by page."""
        query = {"list-type": "2", "prefix": prefix}
        while True:
            root = ET.fromstring(self._request("GET", bucket, "", query=query)[1])
            for entry in root.iterfind("{*}Contents"):
                text = {child.tag.rpartition("}")[2]: child.text or "" for child in entry}
                yield Entry(text["Key"], int(text["Size"]), text.get("ETag", ""))
            token = root.findtext("{*}NextContinuationToken")
            if root.findtext("{*}IsTruncated") != "true" or not token:
                return
            query["continuation-token"] = token

    def uploads(self, bucket: str, prefix: str = "") -> list[tuple[str, str]]:
        """Multipart uploads that are neither complete nor aborted: (key, upload id)."""
        root = ET.fromstring(self._request("GET", bucket, "", query={"uploads": "", "prefix": prefix})[1])
        return [(u.findtext("{*}Key") or "", u.findtext("{*}UploadId") or "") for u in root.iterfind("{*}Upload")]

    def _request(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[dict[str, str], bytes]:
        url = urllib.parse.urlsplit(self.endpoint)
        path = urllib.parse.quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
        arguments = "&".join(f"{_quote(k)}={_quote(v)}" for k, v in sorted((query or {}).items()))
        signed = self._sign(method, url.netloc, path, arguments, headers or {}, body)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=self.timeout)
        what = f"{method} s3://{bucket}/{key} at {self.endpoint}"
        try:
            connection.request(method, path + (f"?{arguments}" if arguments else ""), body=body or None, headers=signed)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise S3Error(0, type(error).__name__, what, str(error)) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise S3Error(answer.status, *_why(content, answer.reason, what))
        return {name.lower(): value for name, value in answer.getheaders()}, content

    def _sign(
        self, method: str, host: str, path: str, arguments: str, headers: dict[str, str], body: bytes
    ) -> dict[str, str]:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest() if body else _EMPTY
        headers = {**headers, "host": host, "x-amz-date": now, "x-amz-content-sha256": digest}
        names = ";".join(sorted(headers))
        canonical = "\n".join(
            [method, path, arguments, *(f"{n}:{headers[n].strip()}" for n in sorted(headers)), "", names, digest]
        )
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        secret = f"AWS4{self.secret_key}".encode()
        for part in (now[:8], self.region, "s3", "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        signature = hmac.new(secret, to_sign.encode(), "sha256").hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


def _why(content: bytes, reason: str, what: str) -> tuple[str, str, str]:
    try:
        root = ET.fromstring(content)
        return root.findtext("{*}Code") or root.findtext("Code") or reason, what, root.findtext("Message") or ""
    except ET.ParseError:
        return reason, what, ""
