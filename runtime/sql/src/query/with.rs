//! A query with its `WITH` clause.

use sqlparser::ast;

use super::{
    planner::Planner,
    rows::{Context, Rows, rename},
    set,
};
use crate::error::{Position, Result, SqlError};

impl Planner<'_> {
    /// A query with its `WITH` clause.
    pub(crate) fn query(&mut self, query: &ast::Query, context: &Context) -> Result<Rows> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let refused = [
            (
                order_by.is_some(),
                "ORDER",
                "ORDER BY",
                "a stream has no end to sort by: sort what reads the result",
            ),
            (limit_clause.is_some(), "LIMIT", "LIMIT", "leave it out"),
            (limit_clause.is_some(), "OFFSET", "OFFSET", "leave it out"),
            (fetch.is_some(), "FETCH", "FETCH", "leave it out"),
            (
                !locks.is_empty() || for_clause.is_some(),
                "FOR",
                "FOR",
                "leave it out",
            ),
            (settings.is_some(), "SETTINGS", "SETTINGS", "use SET"),
            (
                format_clause.is_some(),
                "FORMAT",
                "FORMAT",
                "the sink's options say the format",
            ),
            (
                !pipe_operators.is_empty(),
                "SELECT",
                "|>",
                "write a subquery",
            ),
        ];
        let start = set::start_of(&query.body).or(context.places.start);
        for (present, word, what, advice) in refused {
            // LIMIT and OFFSET share a clause: only the one that is written is found after the
            // query's start.
            let at = context.places.find(word, start);
            if present && (at != start || word != "LIMIT") {
                return Err(SqlError::at(at, format!("{what} is not supported")).hint(advice));
            }
        }
        match with {
            None => self.set_expr(body, context),
            Some(with) => {
                let context = self.with_ctes(with, context)?;
                self.set_expr(body, &context)
            }
        }
    }

    fn with_ctes(&mut self, with: &ast::With, context: &Context) -> Result<Context> {
        let position = Position::from(with.with_token.0.span.start);
        if with.recursive {
            return Err(SqlError::at(position, "WITH RECURSIVE is not supported"));
        }
        let mut inner = context.clone();
        for cte in &with.cte_tables {
            let ast::Cte {
                alias,
                query,
                from,
                materialized,
                closing_paren_token: _,
            } = cte;
            let at = Position::from(alias.name.span.start);
            if from.is_some() || materialized.is_some() {
                return Err(SqlError::at(at, "this form of WITH is not supported")
                    .hint("write WITH name AS (query)"));
            }
            let mut rows = self.query(query, &inner)?;
            rename(&mut rows, &alias.columns, at)?;
            inner.ctes.insert(alias.name.value.clone(), rows);
        }
        Ok(inner)
    }
}
