CREATE TABLE t (id INT, n INT, ts TIMESTAMP(3)) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT) WITH ('connector' = 'print');
INSERT INTO o SELECT id FROM t MATCH_RECOGNIZE (
  PARTITION BY id ORDER BY ts MEASURES A.n AS m ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B) WITHIN INTERVAL '10' SECOND DEFINE A AS A.n > 1, B AS B.n > 2
);
