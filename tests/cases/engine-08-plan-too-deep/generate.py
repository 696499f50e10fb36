"""A thousand views, each over the one before."""
with open("job.sql", "w") as out:
    out.write("CREATE TABLE t (a INT) WITH ('connector'='filesystem','path'='${IN}','format'='json');\n")
    out.write("CREATE TABLE o (c INT) WITH ('connector'='print');\n")
    out.write("CREATE TEMPORARY VIEW v0 AS SELECT a FROM t;\n")
    for view in range(1, 1100):
        out.write(f"CREATE TEMPORARY VIEW v{view} AS SELECT DISTINCT a FROM v{view - 1};\n")
    out.write("INSERT INTO o SELECT a FROM v1099;\n")
