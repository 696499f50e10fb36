CREATE TABLE t (id INT) WITH (
  'connector' = 'filesystem', 'path' = '${CASE}/in/', 'format' = 'json',
  'source.path.regex-pattern' = '${CASE}/in/[^/]*\.json'
);
CREATE TABLE o (id INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id FROM t;
