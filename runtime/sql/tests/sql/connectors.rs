//! Connectors that need no crate but the protocol: what they accept and refuse is enough to test
//! that the front end consults connectors and reports the position of their errors.

use streamkeeper_protocol::plan::{ChangelogMode, TableRef};
use streamkeeper_sql::{
    Compiled, Connectors, OptionProblem, SqlError, TableTraits, TableUse, compile,
};

/// `filesystem`, `datagen`, `print` and `blackhole` as in the product, and `keyed`, a sink that is
/// updated by its primary key.
pub(crate) struct Known;

impl Connectors for Known {
    fn check(&self, table: &TableRef, table_use: TableUse) -> Result<TableTraits, OptionProblem> {
        let known: &[&str] = match (table.connector.as_str(), table_use) {
            ("filesystem", _) => &["path", "format", "source.monitor-interval"],
            ("datagen", TableUse::Source) => &["rows-per-second", "number-of-rows"],
            ("print", TableUse::Sink) => &["print-identifier"],
            ("blackhole" | "keyed", TableUse::Sink) => &[],
            (connector, _) => {
                return Err(OptionProblem {
                    option: None,
                    message: format!("there is no connector '{connector}' for this"),
                });
            }
        };
        if let Some(option) = table
            .options
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            return Err(OptionProblem {
                option: Some(option.clone()),
                message: format!("option '{option}' is not known"),
            });
        }
        let required = if table.connector == "filesystem" {
            known
        } else {
            &[]
        };
        for option in required.iter().take(2) {
            if !table.options.contains_key(*option) {
                return Err(OptionProblem {
                    option: Some((*option).to_owned()),
                    message: format!("option '{option}' is required"),
                });
            }
        }
        let inserts = table
            .options
            .get("format")
            .is_some_and(|format| format != "debezium-json");
        Ok(TableTraits {
            accepts: match table.connector.as_str() {
                "keyed" => ChangelogMode::Upsert,
                "filesystem" if inserts => ChangelogMode::InsertOnly,
                _ => ChangelogMode::Retract,
            },
            bounded: table.options.contains_key("number-of-rows"),
        })
    }
}

/// Compiles what must compile.
pub(crate) fn compiled(text: &str) -> Compiled {
    compile(text, &Known).unwrap_or_else(|errors| panic!("{}\n{text}", listed(&errors)))
}

/// The errors of what must not compile.
pub(crate) fn refused(text: &str) -> Vec<SqlError> {
    match compile(text, &Known) {
        Ok(compiled) => panic!(
            "this compiles:\n{text}\n{}",
            streamkeeper_sql::explain(&compiled.plan)
        ),
        Err(errors) => errors,
    }
}

/// Errors, one a line.
pub(crate) fn listed(errors: &[SqlError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
