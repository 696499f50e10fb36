CREATE TABLE t (ts TIMESTAMP(3), k INT, d DECIMAL(38, 0), WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json');
CREATE TABLE o (k INT, s DECIMAL(38, 0), a DECIMAL(38, 6), c BIGINT) WITH ('connector' = 'print');
INSERT INTO o SELECT k, SUM(d), AVG(d), COUNT(*)
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, k;
