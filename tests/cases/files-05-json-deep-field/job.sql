CREATE TABLE t (id INT, word STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT, n INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id, CHAR_LENGTH(word) FROM t;
