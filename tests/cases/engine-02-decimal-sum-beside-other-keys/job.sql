CREATE TABLE t (ts TIMESTAMP(3), k INT, d DECIMAL(38, 0), WATERMARK FOR ts AS ts - INTERVAL '1' DAY) WITH ('connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json');
CREATE TABLE o (k INT, s DECIMAL(38, 0), c BIGINT, n BIGINT) WITH ('connector' = 'print');
INSERT INTO o SELECT k, s, c, n FROM (
  SELECT k, SUM(d) AS s, COUNT(*) AS c, COUNT(d) AS n
  FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, k
) WHERE k = 0;
