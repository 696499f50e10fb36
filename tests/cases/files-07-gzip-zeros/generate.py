"""Two gzip members and zeros."""
import gzip

with open("in/a.json.gz", "wb") as out:
    out.write(gzip.compress(b'{"word":"one"}\n') + gzip.compress(b'{"word":"two"}\n') + bytes(512))
