CREATE TABLE t (n INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (c BIGINT, s INT) WITH ('connector' = 'print');
INSERT INTO o SELECT COUNT(*), SUM(n) FROM t;
