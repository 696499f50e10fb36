CREATE TABLE t (id INT, word STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'csv',
  'csv.ignore-first-line' = 'true'
);
CREATE TABLE o (id INT, word STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT id, word FROM t;
