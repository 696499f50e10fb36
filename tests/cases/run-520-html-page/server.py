"""A web server that answers everything with its front page."""
from dev.cases.store import Store, serve


class Site(Store):
    def page(self) -> bytes:
        return b"<html><body>It works!</body></html>"


serve(Site())
