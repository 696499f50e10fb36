CREATE TABLE t (id INT, who STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT, name STRING, city STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT id, SPLIT_INDEX(SPLIT_INDEX(who, '"name":"', 1), '"', 0), SPLIT_INDEX(SPLIT_INDEX(who, '"city":"', 1), '"', 0) FROM t;
