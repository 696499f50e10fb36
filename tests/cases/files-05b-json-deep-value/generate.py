"""A value of a column that nests deeper than is read."""
with open("in/a.json", "w") as out:
    out.write('{"id":1,"word":%s%s}\n' % ("[" * 1_001, "]" * 1_001))
