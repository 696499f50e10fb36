SET 'streamkeeper.source.rows-per-second' = '200';
CREATE TABLE t (id BIGINT, pad STRING) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id BIGINT) WITH ('connector' = 'print');
INSERT INTO o SELECT id FROM t WHERE id = 0 OR id >= 1000000;
