import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from dev.lib.s3 import S3, S3Error

PAGE = """<R xmlns='s3'><IsTruncated>{more}</IsTruncated>{token}
<Contents><Key>{key}</Key><Size>1</Size><ETag>"e"</ETag></Contents></R>"""


class Scripted(BaseHTTPRequestHandler):
    """Two pages of a listing; everything else is refused as a race lost."""

    def do_GET(self) -> None:
        token = parse_qs(urlsplit(self.path).query).get("continuation-token")
        if token == ["t +"]:
            body = PAGE.format(more="false", token="", key="b")
        else:
            body = PAGE.format(more="true", token="<NextContinuationToken>t +</NextContinuationToken>", key="a")
        self.answer(200, body)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(412, "<Error><Code>PreconditionFailed</Code><Message>somebody was faster</Message></Error>")

    def do_HEAD(self) -> None:
        self.answer(404, "")

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


class S3Test(unittest.TestCase):
    """What a real server is asked is in dev/s3/check.py; here what it can answer."""

    def setUp(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.s3 = S3(f"http://127.0.0.1:{server.server_address[1]}", "key", "secret")

    def test_a_listing_goes_on_to_the_last_page(self) -> None:
        self.assertEqual([entry.key for entry in self.s3.entries("bucket")], ["a", "b"])

    def test_an_error_names_action_object_status_and_reason(self) -> None:
        with self.assertRaises(S3Error) as caught:
            self.s3.put("bucket", "dir/key", b"x", if_none_match="*")
        self.assertEqual((caught.exception.status, caught.exception.code), (412, "PreconditionFailed"))
        self.assertRegex(str(caught.exception), r"PUT s3://bucket/dir/key at .* 412 PreconditionFailed somebody was faster")

    def test_an_object_that_is_not_there_is_none(self) -> None:
        self.assertIsNone(self.s3.head("bucket", "key"))

    def test_a_server_that_is_not_there_is_an_error_with_status_zero(self) -> None:
        with self.assertRaises(S3Error) as caught:
            S3("http://127.0.0.1:1", "key", "secret").get("bucket", "key")
        self.assertEqual(caught.exception.status, 0)
