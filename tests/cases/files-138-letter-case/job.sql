CREATE TABLE t (userid INT, n INT) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (userid INT, n INT) WITH ('connector' = 'print');
INSERT INTO o SELECT userid, n FROM t;
