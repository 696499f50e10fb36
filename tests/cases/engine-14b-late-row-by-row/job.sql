SET 'streamkeeper.source.rows-per-second' = '5';
CREATE TABLE t (ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (ws TIMESTAMP(3), c BIGINT) WITH ('connector' = 'print');
INSERT INTO o SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
