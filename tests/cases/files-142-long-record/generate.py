"""A line of 80 MiB, compressed."""
import gzip

with gzip.open("in/a.json.gz", "wb", compresslevel=1) as out:
    out.write(b'{"word":"first"}\n{"word":"')
    for _ in range(80):
        out.write(b"x" * (1 << 20))
    out.write(b'"}\n')
