CREATE TABLE t (id INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o WITH ('connector' = 'print') AS SELECT id FROM t;
INSERT INTO o SELECT id FROM t;
