CREATE TABLE t (id INT, a DECIMAL(10, 2), n INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT, a DECIMAL(10, 2), n INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id, a, n FROM t;
