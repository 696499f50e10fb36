-- Every form of expression, each rendered with its conversions.
CREATE TABLE t (
  a INT, b BIGINT, d DOUBLE, p DECIMAL(10, 2), s STRING, c CHAR(3), flag BOOLEAN, day DATE, clock TIME(0), ts TIMESTAMP(3), lz TIMESTAMP_LTZ(3)
) WITH ('connector' = 'datagen');
CREATE TABLE o (
  n1 BIGINT, n2 DECIMAL(38, 6), n3 DOUBLE, n4 INT, n5 BIGINT, n6 DECIMAL(9, 0), n7 DOUBLE,
  t1 STRING, t2 STRING, t3 STRING, t4 STRING, t5 INT, t6 STRING, t7 STRING,
  w1 BIGINT, w2 TIMESTAMP(3), w3 DATE, w4 TIMESTAMP(3), w5 STRING, w6 TIMESTAMP_LTZ(3), w7 DATE, w8 BIGINT,
  l1 BOOLEAN, l2 BOOLEAN, l3 BOOLEAN, l4 BOOLEAN, l5 BOOLEAN, l6 BOOLEAN, l7 BOOLEAN, l8 BOOLEAN,
  c1 STRING, c2 STRING, c3 BIGINT, c4 INT, c5 INT, c6 BIGINT, c7 INT
) WITH ('connector' = 'blackhole');
INSERT INTO o
SELECT
  a + b * 2 - 1, p / 3 % 7, POWER(a, 2) + SQRT(d) + EXP(d) + LN(d), ABS(-a), MOD(a, b), ROUND(p), CEIL(d) + FLOOR(d) + SIGN(d),
  UPPER(s) || '-' || LOWER(c), TRIM(BOTH 'x' FROM s), LTRIM(RTRIM(s)), SUBSTRING(s FROM 2 FOR 3), CHAR_LENGTH(s) + POSITION('a' IN s), CONCAT_WS(',', s, c), SPLIT_INDEX(REPLACE(s, 'a', 'b'), ',', 1),
  EXTRACT(YEAR FROM ts) + HOUR(clock), FLOOR(ts TO HOUR), day + INTERVAL '1' MONTH, ts - INTERVAL '1 12:30' DAY TO MINUTE, DATE_FORMAT(ts, 'yyyy-MM-dd'), TO_TIMESTAMP_LTZ(b, 0), TO_DATE(s), DAYOFWEEK(day),
  a > 1 AND b <= 2 OR NOT flag, s LIKE 'x!_%' ESCAPE '!', a IN (1, 2, b), a NOT BETWEEN 1 AND b, s IS NULL OR flag IS NOT TRUE, a IS DISTINCT FROM b, day >= '2013-01-01', lz < ts,
  CASE WHEN a > 1 THEN 'many' WHEN a = 1 THEN 'one' ELSE s END, CASE c WHEN 'abc' THEN 'x' END, COALESCE(a, b, 0), NULLIF(a, 0), IF(flag, a, 0), GREATEST(a, b), TRY_CAST(s AS INT)
FROM t
WHERE (flag OR a IS NOT NULL) AND ts > TIMESTAMP '2013-01-01 00:00:00' AND clock <> TIME '10:00:00';
