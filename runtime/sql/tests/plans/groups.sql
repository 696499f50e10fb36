-- GROUP BY without a window: an aggregation over a changing aggregation, DISTINCT, an update by key, a total of everything.
CREATE TABLE clicks (person STRING, page STRING, ms INT) WITH ('connector' = 'datagen');
CREATE TABLE per_page (page STRING PRIMARY KEY NOT ENFORCED, clicks BIGINT, people BIGINT, slow BIGINT) WITH ('connector' = 'keyed');
CREATE TABLE histogram (clicks BIGINT, pages BIGINT, slowest INT) WITH ('connector' = 'print');
CREATE TABLE seen (person STRING, page STRING) WITH ('connector' = 'filesystem', 'path' = '/seen', 'format' = 'debezium-json');
CREATE TABLE totals (clicks BIGINT, average INT) WITH ('connector' = 'print');
CREATE TEMPORARY VIEW pages (name, clicks, slowest) AS SELECT page, COUNT(*), MAX(ms) FROM clicks GROUP BY page;
BEGIN STATEMENT SET;
INSERT INTO per_page SELECT page, COUNT(*), COUNT(DISTINCT person), COUNT(*) FILTER (WHERE ms > 500) FROM clicks GROUP BY page;
INSERT INTO histogram SELECT clicks, COUNT(*), MAX(slowest) FROM pages GROUP BY clicks;
INSERT INTO seen SELECT DISTINCT person, page FROM clicks;
INSERT INTO totals SELECT COUNT(*), AVG(ms) FROM clicks;
END;
