CREATE TABLE t (word STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'csv'
);
CREATE TABLE o (word STRING, n INT) WITH ('connector' = 'print');
INSERT INTO o SELECT word, CHAR_LENGTH(word) FROM t;
