SET 'streamkeeper.sink.buffer-size' = '16 mb';
CREATE TABLE d (id BIGINT, s STRING) WITH (
  'connector' = 'datagen', 'rows-per-second' = '100000000', 'number-of-rows' = '4000000',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '4000000',
  'fields.s.length' = '200'
);
CREATE TABLE o (id BIGINT, s STRING) WITH (
  'connector' = 'filesystem', 'path' = '${OUT}/file/x', 'format' = 'json'
);
INSERT INTO o SELECT id, s FROM d;
