//! The planner: tables, views and relations while queries are planned.

use std::collections::HashMap;

use super::rows::Rows;
use crate::{
    catalog::{Catalog, Table},
    connectors::{Connectors, TableTraits, TableUse},
    error::{Result, SqlError},
    graph::{Graph, RelationId},
};

/// Turns queries into relations of one graph.
pub(crate) struct Planner<'a> {
    pub(crate) catalog: Catalog,
    pub(super) connectors: &'a dyn Connectors,
    pub(crate) graph: Graph,
    pub(super) sources: HashMap<String, RelationId>,
    pub(super) views: HashMap<String, Rows>,
    pub(super) traits: HashMap<(String, bool), TableTraits>,
    /// Errors of connectors about tables in use. They do not hide errors in the queries that use
    /// the tables.
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
    pub(super) fn rows(&self, relation: RelationId) -> Rows {
        Rows {
            relation,
            columns: self.graph.get(relation).columns.clone(),
            windowed: None,
        }
    }

    /// The traits of a table from its connector; checked once per use.
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
}
