"""A small S3 server for `server.py` of a case: conditional writes and listings, no signatures.

    serve(Store())                      # prints {"ENDPOINT": "http://127.0.0.1:…"} and serves until killed
    serve(Store(), authority="ca.pem")  # with TLS, by a certificate of an authority that it makes
"""

import hashlib
import json
import ssl
import subprocess
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Refusal(Exception):
    """An error response of S3."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(f"{status} {code}")
        self.status, self.code, self.message = status, code, message


class Store:
    """Objects by path. Subclasses refuse in `check`, or answer otherwise in `page`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, bytes] = {}

    def check(self, method: str, path: str) -> None:
        """Raises `Refusal`, or does nothing. Called for one request at a time."""

    def page(self) -> bytes | None:
        """A web page that is the answer to everything."""
        return None


def version(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    """Responds from `store`, which a subclass sets."""

    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.body()
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        page = self.store.page()
        if page is not None:
            self.reply(200, page, {"content-type": "text/html"})
            return
        try:
            with self.store.lock:
                self.store.check(self.command, path)
                answer, headers, status = self.answer(path, body)
        except Refusal as refusal:
            text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
            self.reply(refusal.status, text.encode(), {"content-type": "application/xml"})
            return
        self.reply(status, answer, headers)

    do_GET = do_PUT = do_HEAD = do_DELETE = handle_any

    def body(self) -> bytes:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "aws-chunked" not in (self.headers.get("content-encoding") or ""):
            return raw
        whole, rest = b"", raw
        while rest:
            head, _, rest = rest.partition(b"\r\n")
            size = int(head.split(b";")[0], 16)
            if size == 0:
                break
            whole, rest = whole + rest[:size], rest[size + 2 :]
        return whole

    def answer(self, path: str, body: bytes) -> tuple[bytes, dict[str, str], int]:
        objects, query = self.store.objects, urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        known = objects.get(path)
        if self.command == "PUT":
            match = self.headers.get("if-match")
            if (self.headers.get("if-none-match") == "*" and known is not None) or (
                match is not None and (known is None or version(known) != match)
            ):
                raise Refusal(412, "PreconditionFailed")
            objects[path] = body
            return b"", {"etag": version(body)}, 200
        if self.command == "DELETE":
            objects.pop(path, None)
            return b"", {}, 204
        if self.command == "GET" and "list-type" in query:
            prefix = path.rstrip("/") + "/"
            start = prefix + query.get("prefix", [""])[0]
            entries = "".join(
                f"<Contents><Key>{escape(key.removeprefix(prefix))}</Key><Size>{len(value)}</Size>"
                f"<ETag>{version(value)}</ETag><LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
                for key, value in sorted(objects.items())
                if key.startswith(start)
            )
            listing = f'<ListBucketResult xmlns="{NAMESPACE}"><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>'
            return listing.encode(), {"content-type": "application/xml"}, 200
        if known is None:
            raise Refusal(404, "NoSuchKey")
        wanted = self.headers.get("range")
        if wanted and self.command == "GET":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last or len(known) - 1), len(known) - 1)
            span = f"bytes {first}-{end}/{len(known)}"
            return known[int(first) : end + 1], {"etag": version(known), "content-range": span}, 206
        return known, {"etag": version(known)}, 200

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def listen(store: Store) -> ThreadingHTTPServer:
    """A server on a free port."""
    return ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))


def serve(store: Store, authority: str | None = None) -> None:
    """Says where it is, and serves for ever. `authority`: the file for the certificate of its authority."""
    http = listen(store)
    scheme, said = "http", {}
    if authority is not None:
        said["AUTHORITY"] = str(Path(authority).resolve())
        http.socket = certified(Path(authority)).wrap_socket(http.socket, server_side=True)
        scheme = "https"
    said["ENDPOINT"] = f"{scheme}://127.0.0.1:{http.server_address[1]}"
    print(json.dumps(said), flush=True)
    http.serve_forever()


def certified(authority: Path) -> ssl.SSLContext:
    """TLS for 127.0.0.1, by an unknown authority whose certificate is written to a file."""
    keys = [authority.with_suffix(".key"), authority.with_name("server.key")]
    leaf = authority.with_name("server.pem")
    made(authority, keys[0], "/CN=an authority that nobody knows")
    signed = ["-CA", str(authority), "-CAkey", str(keys[0])]
    for extension in ("subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"):
        signed += ["-addext", extension]
    made(leaf, keys[1], "/CN=127.0.0.1", *signed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf, keys[1])
    return context


def made(certificate: Path, key: Path, subject: str, *more: str) -> None:
    """Makes a certificate with its key."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", *curve, *files, "-days", "2", "-subj", subject, *more]
    subprocess.run(command, check=True, capture_output=True)
