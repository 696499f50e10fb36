"""A field that no column reads and that nests 100,000 deep, and one that a column reads."""
deep = lambda levels: "[" * levels + "]" * levels
with open("in/a.json", "w") as out:
    out.write('{"id":1,"word":%s}\n' % deep(500))
    out.write('{"id":2,"other":{"x":%s}}\n' % deep(100_000))
