CREATE TABLE t (id INT, ts TIMESTAMP_LTZ(3)) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);
CREATE TABLE o (id INT, ts TIMESTAMP_LTZ(3)) WITH ('connector' = 'print');
INSERT INTO o SELECT id, ts FROM t;
