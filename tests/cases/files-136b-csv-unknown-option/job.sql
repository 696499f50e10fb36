CREATE TABLE t (id INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'csv',
  'csv.header' = 'true'
);
CREATE TABLE o (id INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id FROM t;
