-- TUMBLE and HOP, written in both ways, over a view; one aggregation that cannot be split before the shuffle; windows over windows.
CREATE TABLE orders (item STRING, shop STRING, price DECIMAL(8, 2), quantity INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'datagen');
CREATE VIEW paid AS SELECT item, shop, price * quantity AS total, quantity, ts FROM orders WHERE price > 0;
CREATE TABLE per_hour (window_start TIMESTAMP(3), window_end TIMESTAMP(3), shop STRING, orders BIGINT, total DECIMAL(38, 2), average INT, least INT, most INT, large BIGINT) WITH ('connector' = 'filesystem', 'path' = '/out/a', 'format' = 'csv');
CREATE TABLE hopping (window_end TIMESTAMP(3), items BIGINT) WITH ('connector' = 'filesystem', 'path' = '/out/b', 'format' = 'json');
CREATE TABLE per_day (day TIMESTAMP(3), best BIGINT) WITH ('connector' = 'print');
CREATE TABLE pings (host STRING, ms INT, at TIMESTAMP_LTZ(3), WATERMARK FOR at AS at) WITH ('connector' = 'datagen');
CREATE TABLE health (window_start TIMESTAMP(3), host STRING NOT NULL, pings BIGINT, slowest INT, slow BIGINT, last TIMESTAMP_LTZ(3)) WITH ('connector' = 'print');
EXECUTE STATEMENT SET BEGIN
INSERT INTO per_hour
SELECT window_start, window_end, shop, COUNT(*), SUM(total), AVG(quantity), MIN(quantity), MAX(quantity), COUNT(*) FILTER (WHERE total > 100)
FROM TABLE(TUMBLE(TABLE paid, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, shop HAVING COUNT(*) > 1;
INSERT INTO hopping
SELECT window_end, COUNT(DISTINCT item)
FROM TABLE(HOP(DATA => TABLE paid, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '5' MINUTE, SIZE => INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
INSERT INTO per_day
WITH hourly AS (
  SELECT shop, window_time AS at, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE paid, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time, shop
)
SELECT window_start, MAX(n) FROM TABLE(TUMBLE(TABLE hourly, DESCRIPTOR(at), INTERVAL '1' DAY, INTERVAL '-8' HOUR)) GROUP BY window_start, window_end;
INSERT INTO health
SELECT window_start, host, COUNT(ms), MAX(ms), SUM(CASE WHEN ms > 500 THEN 1 ELSE 0 END), window_time
FROM TABLE(HOP(TABLE pings, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) AS w WHERE w.ms >= 0 GROUP BY host, window_start, window_end, window_time;
END;
