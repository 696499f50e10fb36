CREATE TABLE t (word STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (word STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT word FROM t;
