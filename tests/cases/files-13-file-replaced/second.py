"""Versions of a file that differ in nothing but the ids."""


def write(path: str, first: int) -> None:
    pad = "x" * 100_000
    with open(path, "w") as out:
        for row in range(600):
            out.write('{"id":%d,"pad":"%s"}\n' % (first + row, pad))
