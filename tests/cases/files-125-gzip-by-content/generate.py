"""Gzip under another name."""
import gzip

with open("in/a.json", "wb") as out:
    out.write(gzip.compress(b'{"id":1}\n{"id":2}\n'))
