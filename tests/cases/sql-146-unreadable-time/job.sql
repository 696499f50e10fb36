CREATE TABLE t (id INT, txt STRING, ts AS TO_TIMESTAMP(txt), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT, ts TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO o SELECT id, ts FROM t;
