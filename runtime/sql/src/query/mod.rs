//! Queries to relations.

mod from;
mod grouping;
mod projection;
mod select;
mod set;
mod window;

use std::collections::HashMap;

use sqlparser::ast;
use streamkeeper_protocol::plan::Window;

use crate::{
    catalog::{Catalog, Table},
    connectors::{Connectors, TableTraits, TableUse},
    error::{Position, SqlError},
    graph::{Column, Graph, RelationId},
    script::Places,
};

pub(crate) use window::not_aggregated;

type Result<T> = std::result::Result<T, SqlError>;

/// The rows of a query.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) relation: RelationId,
    pub(crate) columns: Vec<Column>,
    /// Windows assigned but not yet aggregated.
    pub(crate) windowed: Option<Windowed>,
}

/// Rows of `relation`, each in its windows. No operator does that alone: an aggregation by window
/// takes it in.
#[derive(Debug, Clone)]
pub(crate) struct Windowed {
    pub(crate) window: Window,
    /// Time column of the relation.
    pub(crate) time: usize,
    /// What each column of the rows is.
    pub(crate) outputs: Vec<Output>,
    /// Where the window function stands.
    pub(crate) position: Position,
}

/// A column of windowed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A column of the relation.
    Column(usize),
    /// `window_start`, `window_end`, `window_time`: 0, 1, 2.
    Property(usize),
}

/// What surrounds a query.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where its aggregations belong: a view or a sink.
    pub(crate) place: String,
    pub(crate) places: Places,
    /// Common table expressions in scope.
    pub(crate) ctes: HashMap<String, Rows>,
}

/// Turns queries into relations of one graph.
pub(crate) struct Planner<'a> {
    pub(crate) catalog: Catalog,
    connectors: &'a dyn Connectors,
    pub(crate) graph: Graph,
    sources: HashMap<String, RelationId>,
    views: HashMap<String, Rows>,
    traits: HashMap<(String, bool), TableTraits>,
    /// What connectors say about tables in use. It hides no mistake in the queries that use them.
    pub(crate) problems: Vec<SqlError>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(connectors: &'a dyn Connectors) -> Self {
        Self {
            catalog: Catalog::default(),
            connectors,
            graph: Graph::default(),
            sources: HashMap::new(),
            views: HashMap::new(),
            traits: HashMap::new(),
            problems: Vec::new(),
        }
    }

    /// The relation's rows as they are.
    fn rows(&self, relation: RelationId) -> Rows {
        Rows {
            relation,
            columns: self.graph.get(relation).columns.clone(),
            windowed: None,
        }
    }

    /// What the connector says about a table; asked once per use.
    pub(crate) fn traits(&mut self, table: &Table, table_use: TableUse) -> Result<TableTraits> {
        let key = (table.reference.name.clone(), table_use == TableUse::Source);
        if let Some(traits) = self.traits.get(&key) {
            return Ok(*traits);
        }
        let traits = self
            .connectors
            .check(&table.reference, table_use)
            .map_err(|problem| {
                let place = problem
                    .option
                    .as_ref()
                    .and_then(|option| table.options.get(option));
                let fallback = table
                    .options
                    .get("connector")
                    .copied()
                    .unwrap_or(table.position);
                SqlError::at(place.copied().unwrap_or(fallback), problem.message)
            })?;
        self.traits.insert(key, traits);
        Ok(traits)
    }

    /// Has the connector check a table for one use of it.
    pub(crate) fn check(&mut self, table: &Table, table_use: TableUse) {
        if let Err(problem) = self.traits(table, table_use) {
            self.problems.push(problem);
        }
    }

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

/// Gives the rows the column names of an alias.
fn rename(rows: &mut Rows, columns: &[ast::TableAliasColumnDef], position: Position) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    if columns.len() != rows.columns.len() {
        let text = format!(
            "{} column names for {} columns",
            columns.len(),
            rows.columns.len()
        );
        return Err(SqlError::at(position, text));
    }
    for (column, alias) in rows.columns.iter_mut().zip(columns) {
        column.name.clone_from(&alias.name.value);
    }
    Ok(())
}
