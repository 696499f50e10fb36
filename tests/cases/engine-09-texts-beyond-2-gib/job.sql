CREATE TABLE d (id BIGINT, s STRING) WITH (
  'connector' = 'datagen', 'rows-per-second' = '100000000', 'number-of-rows' = '4096',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '4096',
  'fields.s.length' = '65536'
);
CREATE TABLE o (id BIGINT, n INT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT id, CHAR_LENGTH(s || s || s || s || s || s || s || s || s) FROM d;
