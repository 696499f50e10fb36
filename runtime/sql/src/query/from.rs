//! What stands in `FROM`: tables, views, subqueries, window functions.

use std::rc::Rc;

use sqlparser::ast::{self, Spanned, TableFactor};

use super::{
    planner::Planner,
    rows::{Context, Rows, rename},
    window::plain,
};
use crate::{
    catalog::{Entry, Table},
    connectors::TableUse,
    error::{Position, Result, SqlError},
    graph::RelationId,
    script::{CreateView, Name},
};

impl Planner<'_> {
    /// The one input of a query and the name it goes by.
    pub(super) fn from(
        &mut self,
        from: &[ast::TableWithJoins],
        context: &Context,
    ) -> Result<(Rows, Option<String>)> {
        let join = |at: Position| {
            SqlError::at(at, "joins are not supported yet")
                .hint("a query reads one table, view or subquery")
        };
        let start = context.places.start;
        match from {
            [] => Err(SqlError::at(start, "a query without FROM is not supported")),
            [_, second, ..] => Err(join(Position::from(second.span().start).or(start))),
            [only] if !only.joins.is_empty() => {
                let relation = Position::from(only.relation.span().start);
                Err(join(context.places.find("JOIN", relation)))
            }
            [only] => self.factor(&only.relation, context),
        }
    }

    fn factor(
        &mut self,
        factor: &TableFactor,
        context: &Context,
    ) -> Result<(Rows, Option<String>)> {
        let at = Position::from(factor.span().start).or(context.places.start);
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_directives,
                inheritance,
            } => {
                if version.is_some() {
                    let place = context.places.find("FOR", at);
                    return Err(SqlError::at(
                        place,
                        "FOR SYSTEM_TIME AS OF is not supported yet",
                    ));
                }
                let plain = with_hints.is_empty()
                    && !with_ordinality
                    && partitions.is_empty()
                    && json_path.is_none()
                    && sample.is_none()
                    && index_directives.is_empty()
                    && inheritance.is_none();
                if !plain {
                    return Err(SqlError::at(at, "only a plain table name can stand here"));
                }
                let name = simple_name(name, at)?;
                let rows = match args {
                    None => self.named(&name, at, context)?,
                    Some(args) => {
                        let call_args: Vec<&ast::FunctionArg> = args.args.iter().collect();
                        self.window_function(&name, &call_args, at, context)?
                    }
                };
                aliased(rows, alias.as_ref(), args.is_none().then_some(name), at)
            }
            TableFactor::TableFunction {
                expr: ast::Expr::Function(call),
                alias,
            } => {
                let name = simple_name(&call.name, at)?;
                let ast::FunctionArguments::List(list) = plain(call, at)? else {
                    return Err(SqlError::at(at, format!("{name} needs arguments")));
                };
                let args: Vec<&ast::FunctionArg> = list.args.iter().collect();
                let rows = self.window_function(&name, &args, at, context)?;
                aliased(rows, alias.as_ref(), None, at)
            }
            TableFactor::Derived {
                lateral: false,
                subquery,
                alias,
                sample: None,
            } => {
                let rows = self.query(subquery, context)?;
                aliased(rows, alias.as_ref(), None, at)
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.from(std::slice::from_ref(table_with_joins.as_ref()), context),
            TableFactor::MatchRecognize { .. } => Err(SqlError::at(
                context.places.find("MATCH_RECOGNIZE", at),
                "MATCH_RECOGNIZE is not supported yet",
            )),
            TableFactor::UNNEST { .. } => Err(SqlError::at(at, "UNNEST is not supported yet")),
            TableFactor::Derived { .. } | TableFactor::Function { .. } => {
                let at = context.places.before("LATERAL", at);
                Err(SqlError::at(at, "LATERAL is not supported yet"))
            }
            _ => Err(SqlError::at(
                at,
                "only a table, a view, a subquery or a window function can stand in FROM",
            )),
        }
    }

    /// A common table expression, table or view.
    pub(super) fn named(
        &mut self,
        name: &str,
        position: Position,
        context: &Context,
    ) -> Result<Rows> {
        if let Some(rows) = context.ctes.get(name) {
            return Ok(rows.clone());
        }
        match self.catalog.find(name, position)? {
            Entry::Table(table) => {
                let relation = self.source(&table, position);
                Ok(self.rows(relation))
            }
            Entry::View(view) => self.view(&view),
            Entry::Broken => Err(SqlError::at(position, "")),
        }
    }

    /// A table's relation: read once, with computed columns and watermarks.
    fn source(&mut self, table: &Rc<Table>, position: Position) -> RelationId {
        let name = &table.reference.name;
        if let Some(relation) = self.sources.get(name) {
            return *relation;
        }
        self.check(table, TableUse::Source);
        let mut relation = self.graph.source(table.reference.clone(), position);
        if table.is_computed() {
            relation = self
                .graph
                .calc(relation, None, table.columns.clone(), position);
        }
        if let Some((column, expr)) = &table.watermark {
            relation = self
                .graph
                .watermark(relation, *column, expr.clone(), position);
        }
        self.sources.insert(name.clone(), relation);
        relation
    }

    /// Plans a view for the first time.
    pub(crate) fn declare_view(&mut self, name: &Name) -> Result<()> {
        match self.catalog.find(&name.text, name.position)? {
            Entry::View(view) => self.view(&view).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn view(&mut self, view: &Rc<CreateView>) -> Result<Rows> {
        if let Some(rows) = self.views.get(&view.name.text) {
            return Ok(rows.clone());
        }
        let inner = Context {
            place: format!("view {}", view.name.text),
            places: view.places.clone(),
            ctes: std::collections::HashMap::new(),
        };
        let mut rows = self.query(&view.query, &inner)?;
        if !view.columns.is_empty() {
            if view.columns.len() != rows.columns.len() {
                let text = format!(
                    "{} column names for {} columns",
                    view.columns.len(),
                    rows.columns.len()
                );
                return Err(SqlError::at(view.name.position, text));
            }
            for (column, name) in rows.columns.iter_mut().zip(&view.columns) {
                column.name.clone_from(&name.text);
            }
        }
        self.views.insert(view.name.text.clone(), rows.clone());
        Ok(rows)
    }
}

/// A name without catalog and database.
pub(super) fn simple_name(name: &ast::ObjectName, position: Position) -> Result<String> {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => Ok(ident.value.clone()),
        _ => Err(SqlError::at(
            position,
            "names with a catalog or database are not supported",
        )
        .hint("use the table's name alone")),
    }
}

fn aliased(
    mut rows: Rows,
    alias: Option<&ast::TableAlias>,
    name: Option<String>,
    position: Position,
) -> Result<(Rows, Option<String>)> {
    let Some(alias) = alias else {
        return Ok((rows, name));
    };
    if alias.at.is_some()
        || alias
            .columns
            .iter()
            .any(|column| column.data_type.is_some())
    {
        return Err(SqlError::at(
            position,
            "this form of alias is not supported",
        ));
    }
    rename(
        &mut rows,
        &alias.columns,
        Position::from(alias.name.span.start),
    )?;
    Ok((rows, Some(alias.name.value.clone())))
}
