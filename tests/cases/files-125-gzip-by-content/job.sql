CREATE TABLE t (id INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id FROM t;
