-- UNION ALL of tables with different types, a subquery, two INSERTs into one sink, columns in another order.
SET 'table.local-time-zone' = '+02:00';
SET 'table.exec.source.idle-timeout' = '10 s';
SET 'streamkeeper.source.rows-per-second' = '500';
CREATE TABLE a (id INT NOT NULL, name CHAR(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE b (id BIGINT, label STRING, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '1' SECOND) WITH ('connector' = 'datagen');
CREATE TABLE o (name STRING, id BIGINT, extra DOUBLE) WITH ('connector' = 'print');
CREATE TABLE counts (window_start TIMESTAMP(3), n BIGINT) WITH ('connector' = 'print');
CREATE VIEW both_of_them AS SELECT id, name, ts FROM a UNION ALL SELECT b.id, b.label, b.at FROM b AS b;
INSERT INTO o (id, name) SELECT x.id, x.name FROM (SELECT * FROM both_of_them WHERE id > 10) AS x;
INSERT INTO o SELECT 'b', id, 1.5e0 FROM b;
INSERT INTO counts SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE both_of_them, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
CREATE TABLE changes (name STRING, n BIGINT) WITH ('connector' = 'print');
-- Rows that were exchanged meet rows that were not.
INSERT INTO changes
SELECT name, COUNT(*) FROM both_of_them GROUP BY name
UNION ALL SELECT name, id FROM both_of_them WHERE id < 5
UNION ALL SELECT name, MAX(n) FROM (SELECT name, ts, COUNT(*) AS n FROM both_of_them GROUP BY name, ts) GROUP BY name;
