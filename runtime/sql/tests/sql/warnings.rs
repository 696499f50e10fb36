//! Texts that compile with a warning.

use crate::connectors::compiled;

const TABLES: &str = "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen');
CREATE TABLE o (r BIGINT) WITH ('connector' = 'print');
";

fn warnings(text: &str) -> Vec<String> {
    compiled(&format!("{TABLES}{text}"))
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_setting_without_effect_is_a_warning_that_names_where_to_set_it() {
    let said = warnings(
        "SET 'parallelism.default' = '4';
SET 'no.such.key' = '1';
SET 'execution.runtime-mode' = 'STREAMING';
INSERT INTO o SELECT id FROM t;",
    );
    assert_eq!(
        said,
        [
            "line 3:5: warning: the setting 'parallelism.default' has no effect: the parallelism is set in the StreamJob, not in the SQL text",
            "line 4:5: warning: the setting 'no.such.key' is not known and has no effect",
        ]
    );
}

#[test]
fn several_inserts_outside_a_statement_set_are_a_warning_at_the_second() {
    let twice = "INSERT INTO o SELECT id FROM t;\nINSERT INTO o SELECT id + 1 FROM t;";
    assert_eq!(
        warnings(twice),
        [
            "line 4:1: warning: several INSERT INTO outside a STATEMENT SET run as one job here; Flink would start one job for each"
        ]
    );
    assert_eq!(
        warnings(&format!("BEGIN STATEMENT SET;\n{twice}\nEND;")),
        [""; 0]
    );
}

#[test]
fn the_last_value_of_a_setting_counts() {
    let text = format!(
        "{TABLES}SET 'table.exec.state.ttl' = '1 h'; SET 'table.exec.state.ttl' = '0';
SET 'table.local-time-zone' = 'UTC'; SET 'table.local-time-zone' = 'GMT+02:00';
SET 'table.exec.source.idle-timeout' = '30s'; SET 'streamkeeper.source.rows-per-second' = '7';
INSERT INTO o SELECT id FROM t;"
    );
    let settings = compiled(&text).plan.settings;
    assert_eq!(settings.state_ttl_ms, None);
    assert_eq!(settings.time_zone.as_deref(), Some("GMT+02:00"));
    assert_eq!(settings.source_idle_timeout_ms, Some(30_000));
    assert_eq!(settings.source_rows_per_second, Some(7));
}
