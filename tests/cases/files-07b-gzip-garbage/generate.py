"""A gzip member and text."""
import gzip

with open("in/a.json.gz", "wb") as out:
    out.write(gzip.compress(b'{"word":"one"}\n') + b"and more\n")
