CREATE TABLE d (k INT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20000', 'number-of-rows' = '240000',
  'fields.k.min' = '0', 'fields.k.max' = '3', 'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '240000');
CREATE TABLE o (k INT, c BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT k, COUNT(DISTINCT v) FROM d GROUP BY k;
