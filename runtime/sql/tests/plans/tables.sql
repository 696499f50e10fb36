-- Types, computed columns, a watermark, options, a primary key, comments.
CREATE TEMPORARY TABLE IF NOT EXISTS readings (
  `id`      BIGINT NOT NULL COMMENT 'of the sensor',
  place     VARCHAR(20),
  code      CHAR(3),
  value_c   DECIMAL(10, 2),
  ok        BOOLEAN,
  level     TINYINT,
  grade     SMALLINT,
  steps     INT NULL,
  ratio     FLOAT,
  exact     DOUBLE PRECISION,
  raw       BYTES,
  day       DATE,
  clock     TIME,
  millis    BIGINT,
  seen      TIMESTAMP(6),
  note      STRING,
  value_f   AS value_c * 1.8 + 32 COMMENT 'Fahrenheit',
  at        AS TO_TIMESTAMP_LTZ(millis, 3),
  WATERMARK FOR at AS at - INTERVAL '0.250' SECOND
) COMMENT 'what the sensors say' WITH (
  'connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'json'
);

CREATE TABLE latest (
  id BIGINT, at TIMESTAMP_LTZ(3), fahrenheit DECIMAL(15, 3),
  CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'print');

INSERT INTO latest SELECT id, at, value_f FROM readings;
