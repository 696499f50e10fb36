CREATE TABLE t (word STRING, n INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'csv'
);
CREATE TABLE o (word STRING, n INT) WITH ('connector' = 'print');
INSERT INTO o SELECT word, n FROM t;
