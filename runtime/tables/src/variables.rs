//! `${VAR}` in table options: written in the SQL text, expanded in the process that uses the table,
//! never stored or logged expanded.

use streamkeeper_protocol::plan::TableRef;

use crate::access::Access;

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
    /// The variable is there, or could be, and does not belong to the author of the SQL.
    #[error(
        "table '{table}', option '{option}': SQL may not use the variable {variable} of this process; a StreamJob uses those that its spec.env defines"
    )]
    Refused {
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

impl VariableError {
    /// The option it is about.
    pub fn option(&self) -> &str {
        match self {
            Self::Unknown { option, .. }
            | Self::Refused { option, .. }
            | Self::Malformed { option, .. } => option,
        }
    }
}

/// The table with every `${VAR}` of its options replaced by what `lookup` finds. There is no
/// escape: a literal `${` cannot be written.
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

/// [`expand`] from the environment of this process, as far as SQL may use it.
pub fn expand_here(table: &TableRef) -> Result<TableRef, VariableError> {
    check(table, Access::of_process())?;
    expand(table, |name| std::env::var(name).ok())
}

/// Whether the options of a table name only variables that SQL may use. Whether these exist is not
/// asked.
pub fn check(table: &TableRef, access: &Access) -> Result<(), VariableError> {
    for (option, value) in &table.options {
        for variable in names(&table.name, option, value)? {
            if !access.has_variable(variable) {
                return Err(VariableError::Refused {
                    table: table.name.clone(),
                    option: option.clone(),
                    variable: variable.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Names of the variables in a value.
fn names<'a>(table: &str, option: &str, value: &'a str) -> Result<Vec<&'a str>, VariableError> {
    let mut names = Vec::new();
    let mut rest = value;
    while let Some((_, after)) = rest.split_once("${") {
        let named = after.split_once('}').filter(|(name, _)| is_name(name));
        let (name, tail) = named.ok_or_else(|| VariableError::Malformed {
            table: table.to_owned(),
            option: option.to_owned(),
        })?;
        names.push(name);
        rest = tail;
    }
    Ok(names)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
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
        if !is_name(name) {
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
    fn a_credential_of_the_pod_is_refused_by_name_unless_the_spec_names_it() {
        let secret = table("s3://a/${AWS_SECRET_ACCESS_KEY}");
        let access = |names| Access::of_pod(Some(names), "/tmp".into());
        let refused = check(&secret, &access("BUCKET")).unwrap_err().to_string();
        assert!(
            refused.contains("'path'")
                && refused.contains("AWS_SECRET_ACCESS_KEY")
                && refused.contains("spec.env"),
            "{refused}"
        );
        assert_eq!(check(&secret, &access("AWS_SECRET_ACCESS_KEY")), Ok(()));
        assert!(check(&secret, &Access::local()).is_err());
        assert!(expand_here(&secret).is_err());
        assert_eq!(check(&table("$x ${BUCKET}"), &access("BUCKET")), Ok(()));
        for malformed in ["${", "${}", "${A", "${A B}", "a${A}${"] {
            let error = check(&table(malformed), &access("A"));
            assert!(
                matches!(error, Err(VariableError::Malformed { .. })),
                "{malformed}"
            );
        }
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
