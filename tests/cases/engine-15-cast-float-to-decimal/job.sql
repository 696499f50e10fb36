CREATE TABLE t (a FLOAT, b FLOAT) WITH ('connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json');
CREATE TABLE o (a DECIMAL(20, 10), b DECIMAL(20, 10)) WITH ('connector' = 'print');
INSERT INTO o SELECT CAST(a AS DECIMAL(20, 10)), CAST(b AS DECIMAL(20, 10)) FROM t;
