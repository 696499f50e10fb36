//! The names that an expression may use.

use streamkeeper_protocol::expr::Expr;

use crate::{
    error::{Position, SqlError},
    graph::Column,
    suggest::nearest,
};

/// Columns in scope, in the order of the input.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// Name by which columns may be qualified.
    pub(crate) qualifier: Option<String>,
    pub(crate) columns: Vec<Column>,
}

impl Scope {
    /// The column of a name.
    pub(crate) fn resolve(&self, name: &str, position: Position) -> Result<Expr, SqlError> {
        let mut found = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.name == name);
        match (found.next(), found.next()) {
            (Some((index, column)), None) => Ok(Expr::column(index, column.ty.clone())),
            (Some(_), Some(_)) => Err(SqlError::at(
                position,
                format!("the column '{name}' is ambiguous"),
            )
            .hint("give the columns different names with AS")),
            (None, _) => {
                let error = SqlError::at(position, format!("there is no column '{name}'"));
                let names = self.columns.iter().map(|column| column.name.as_str());
                Err(match nearest(name, names).as_slice() {
                    [] => error.hint(self.listing()),
                    near => error.hint(format!("did you mean {}?", near.join(" or "))),
                })
            }
        }
    }

    /// The column of a qualified name.
    pub(crate) fn resolve_qualified(
        &self,
        qualifier: &str,
        name: &str,
        position: Position,
    ) -> Result<Expr, SqlError> {
        self.check_qualifier(qualifier, position)?;
        self.resolve(name, position)
    }

    pub(crate) fn check_qualifier(
        &self,
        qualifier: &str,
        position: Position,
    ) -> Result<(), SqlError> {
        match &self.qualifier {
            Some(known) if known == qualifier => Ok(()),
            Some(known) => Err(SqlError::at(
                position,
                format!("there is no table '{qualifier}' here"),
            )
            .hint(format!("the table is called {known}"))),
            None => Err(
                SqlError::at(position, format!("there is no table '{qualifier}' here"))
                    .hint("give the subquery a name with AS"),
            ),
        }
    }

    fn listing(&self) -> String {
        if self.columns.is_empty() {
            return "no columns can be used here".to_owned();
        }
        let names: Vec<&str> = self
            .columns
            .iter()
            .take(20)
            .map(|column| column.name.as_str())
            .collect();
        let more = if self.columns.len() > names.len() {
            ", …"
        } else {
            ""
        };
        format!("columns are {}{more}", names.join(", "))
    }
}
