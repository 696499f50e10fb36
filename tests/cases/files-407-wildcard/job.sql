CREATE TABLE t (id INT) WITH (
  'connector' = 'filesystem', 'path' = '${CASE}/in/*.json', 'format' = 'json'
);
CREATE TABLE o (id INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id FROM t;
