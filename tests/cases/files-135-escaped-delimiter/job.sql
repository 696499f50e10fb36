CREATE TABLE t (id INT, word STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'csv',
  'csv.field-delimiter' = '\u0001'
);
CREATE TABLE o (id INT, word STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT id, word FROM t;
