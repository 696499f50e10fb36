-- Views and subqueries over windows that are aggregated further up; an aggregation of windowed results without a window; a view that nothing reads.
CREATE TABLE visits (page STRING, person STRING, ms INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'datagen');
CREATE TABLE slow (window_end TIMESTAMP(3), section STRING, n BIGINT) WITH ('connector' = 'print');
CREATE TABLE busiest (page STRING, most BIGINT) WITH ('connector' = 'print');
CREATE VIEW unread AS SELECT person, COUNT(*) AS n FROM visits GROUP BY person;
CREATE VIEW windowed AS
SELECT window_start, window_end, UPPER(page) AS section, ms / 1000 AS seconds FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) WHERE ms IS NOT NULL;
CREATE VIEW per_page AS
SELECT page, COUNT(*) AS n FROM TABLE(HOP(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY page, window_start, window_end;
BEGIN STATEMENT SET;
INSERT INTO slow SELECT window_end, x.section, COUNT(*) FROM (SELECT * FROM windowed WHERE seconds > 2) AS x GROUP BY window_start, window_end, x.section;
INSERT INTO busiest SELECT page, MAX(n) FROM per_page GROUP BY page;
END;
