//! The jobs under test: a filter, a window and a running count over one table.

/// Where a job reads and writes, and how fast.
pub(crate) struct Places<'a> {
    pub(crate) input: &'a str,
    /// Folder of the three output tables.
    pub(crate) output: &'a str,
    pub(crate) rows_per_second: u64,
}

/// The job as it is first deployed.
pub(crate) fn job(places: &Places<'_>) -> String {
    text(places, "", "")
}

/// The same with one aggregate more.
pub(crate) fn job_with_worst(places: &Places<'_>) -> String {
    text(places, ", worst BIGINT", ", MAX(v) AS worst")
}

fn text(places: &Places<'_>, column: &str, aggregate: &str) -> String {
    let Places {
        input,
        output,
        rows_per_second,
    } = places;
    format!(
        "SET 'streamkeeper.source.rows-per-second' = '{rows_per_second}';

CREATE TABLE events (
  id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'json');

CREATE TABLE passed (id BIGINT, k STRING, v BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{output}/passed', 'format' = 'json');

CREATE TABLE windows (window_start TIMESTAMP(3), k STRING, n BIGINT, total BIGINT{column})
WITH ('connector' = 'filesystem', 'path' = '{output}/windows', 'format' = 'json');

CREATE TABLE counts (k STRING, n BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{output}/counts', 'format' = 'debezium-json');

EXECUTE STATEMENT SET BEGIN
  INSERT INTO passed SELECT id, k, v FROM events WHERE v >= 0;

  INSERT INTO windows
  SELECT window_start, k, COUNT(*) AS n, SUM(v) AS total{aggregate}
  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end, k;

  INSERT INTO counts SELECT k, COUNT(*) AS n, SUM(v) AS total FROM events GROUP BY k;
END;
"
    )
}
