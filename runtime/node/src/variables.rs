//! `${VAR}` in table options: written in the SQL text, expanded in the process that uses the table, never stored or logged expanded.

use streamkeeper_protocol::plan::{Operator, StreamPlan, TableRef};

/// An option that cannot be expanded. Names the variable, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The environment has no such variable.
    #[error(
        "table '{table}', option '{option}': the environment has no variable {variable}; set it in spec.env"
    )]
    Unknown {
        /// Table name.
        table: String,
        /// Option key.
        option: String,
        /// Variable name.
        variable: String,
    },
    /// `${` without its `}`, or a name that no variable can have.
    #[error(
        "table '{table}', option '{option}': '${{' must be followed by a variable's name and '}}'"
    )]
    Malformed {
        /// Table name.
        table: String,
        /// Option key.
        option: String,
    },
}

/// The table with every `${VAR}` of its options replaced by what `lookup` finds. There is no escape: a literal `${` cannot be written.
pub fn expand(
    table: &TableRef,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<TableRef, VariableError> {
    let mut expanded = table.clone();
    for (option, value) in &mut expanded.options {
        if value.contains("${") {
            *value = expand_value(&table.name, option, value, &lookup)?;
        }
    }
    Ok(expanded)
}

/// Looks a variable up in the process environment.
pub fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether every variable of the plan's tables is known to this process.
pub fn check_plan(
    plan: &StreamPlan,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<(), VariableError> {
    for node in &plan.nodes {
        if let Operator::Source(table) | Operator::Sink(table) = &node.operator {
            expand(table, &lookup)?;
        }
    }
    Ok(())
}

fn expand_value(
    table: &str,
    option: &str,
    value: &str,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<String, VariableError> {
    let malformed = || VariableError::Malformed {
        table: table.to_owned(),
        option: option.to_owned(),
    };
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or_else(malformed)?;
        let is_name =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(malformed());
        }
        out.push_str(before);
        out.push_str(&lookup(name).ok_or_else(|| VariableError::Unknown {
            table: table.to_owned(),
            option: option.to_owned(),
            variable: name.to_owned(),
        })?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use streamkeeper_protocol::types::Schema;

    use super::*;

    fn table(value: &str) -> TableRef {
        TableRef {
            name: "orders".into(),
            connector: "filesystem".into(),
            options: BTreeMap::from([("path".into(), value.into())]),
            schema: Schema::default(),
            primary_key: Vec::new(),
        }
    }

    fn lookup(name: &str) -> Option<String> {
        (name == "BUCKET").then(|| "data${X}".to_owned())
    }

    #[test]
    fn variables_are_replaced_once_and_not_looked_for_in_their_values() {
        let expanded = expand(&table("s3://${BUCKET}/a/${BUCKET}"), lookup).unwrap();
        assert_eq!(expanded.options["path"], "s3://data${X}/a/data${X}");
        assert_eq!(
            expand(&table("$BUCKET"), lookup).unwrap().options["path"],
            "$BUCKET"
        );
    }

    #[test]
    fn an_unknown_variable_names_table_and_option() {
        let error = expand(&table("${NOPE}"), lookup).unwrap_err().to_string();
        assert!(
            error.contains("'orders'") && error.contains("'path'") && error.contains("NOPE"),
            "{error}"
        );
        assert!(matches!(
            expand(&table("${BUCKET"), lookup),
            Err(VariableError::Malformed { .. })
        ));
        assert!(matches!(
            expand(&table("${}"), lookup),
            Err(VariableError::Malformed { .. })
        ));
    }
}
