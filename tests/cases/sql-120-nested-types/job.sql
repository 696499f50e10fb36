CREATE TABLE t (id INT, who ROW<name STRING, city STRING>, tags ARRAY<STRING>) WITH (
  'connector' = 'filesystem', 'path' = '${IN}', 'format' = 'json'
);
CREATE TABLE o (id INT, name STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT id, who.name FROM t;
