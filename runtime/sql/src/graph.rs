//! The job as relations: what is computed, not yet how it is distributed over subtasks.
//!
//! A relation reads relations with smaller ids. Tables and views are in the graph once, however
//! often they are read.

use std::collections::{BTreeSet, HashMap};

use streamkeeper_protocol::{
    aggregate::AggregateCall,
    expr::{Expr, ExprKind},
    plan::{TableRef, Window},
    types::{Field, LogicalType, Schema},
};

use crate::{
    error::Position,
    lineage::{Lineage, digest},
};

/// Position of a relation in [`Graph::relations`].
pub(crate) type RelationId = usize;

/// A column of a relation.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: LogicalType,
    /// Whether it is a time attribute.
    pub(crate) rowtime: bool,
    pub(crate) lineage: Lineage,
}

/// What a relation computes.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Source(TableRef),
    Watermark {
        input: RelationId,
        column: usize,
        expr: Expr,
    },
    Calc {
        input: RelationId,
        filter: Option<Expr>,
        project: Vec<Expr>,
    },
    Union {
        inputs: Vec<RelationId>,
    },
    /// Output: keys, aggregates, `window_start`, `window_end`, `window_time`.
    WindowAggregate {
        input: RelationId,
        window: Window,
        time: usize,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
    },
    /// Output: keys, aggregates.
    GroupAggregate {
        input: RelationId,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
    },
    Sink {
        input: RelationId,
        table: TableRef,
    },
}

impl Operation {
    /// The relations that are read.
    pub(crate) fn inputs(&self) -> Vec<RelationId> {
        match self {
            Self::Source(_) => Vec::new(),
            Self::Union { inputs } => inputs.clone(),
            Self::Watermark { input, .. }
            | Self::Calc { input, .. }
            | Self::WindowAggregate { input, .. }
            | Self::GroupAggregate { input, .. }
            | Self::Sink { input, .. } => vec![*input],
        }
    }
}

/// A relation of the job.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) operation: Operation,
    pub(crate) columns: Vec<Column>,
    /// Source tables it derives from.
    pub(crate) tables: BTreeSet<String>,
    /// Identity of the state it keeps, where it keeps any.
    pub(crate) state_uid: Option<String>,
    /// Position for errors about it.
    pub(crate) position: Position,
}

impl Relation {
    pub(crate) fn schema(&self) -> Schema {
        Schema::new(
            self.columns
                .iter()
                .map(|column| Field::new(column.name.clone(), column.ty.clone()))
                .collect(),
        )
    }

    fn lineages(&self) -> Vec<Lineage> {
        self.columns
            .iter()
            .map(|column| column.lineage.clone())
            .collect()
    }
}

/// All relations of a job.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) relations: Vec<Relation>,
    /// How often each identity was given out.
    identities: HashMap<String, usize>,
}

impl Graph {
    pub(crate) fn get(&self, id: RelationId) -> &Relation {
        &self.relations[id]
    }

    fn push(&mut self, relation: Relation) -> RelationId {
        self.relations.push(relation);
        self.relations.len() - 1
    }

    fn tables_of(&self, inputs: &[RelationId]) -> BTreeSet<String> {
        inputs
            .iter()
            .flat_map(|id| self.get(*id).tables.iter().cloned())
            .collect()
    }

    /// A state's uid: the digest of what describes it and, among equal descriptions, its ordinal.
    fn identify(&mut self, description: &str) -> String {
        let ordinal = self.identities.entry(description.to_owned()).or_default();
        let uid = digest(&format!("{description}#{ordinal}"));
        *ordinal += 1;
        uid
    }

    pub(crate) fn source(&mut self, table: TableRef, position: Position) -> RelationId {
        let columns = table.schema.fields.iter().map(|field| Column {
            name: field.name.clone(),
            ty: field.ty.clone(),
            rowtime: false,
            lineage: Lineage::of_table_column(&table.name, &field.name),
        });
        let columns = columns.collect();
        let tables = BTreeSet::from([table.name.clone()]);
        let state_uid = Some(self.identify(&format!("source {}", table.name)));
        self.push(Relation {
            operation: Operation::Source(table),
            columns,
            tables,
            state_uid,
            position,
        })
    }

    /// `column` of the result is a time attribute.
    pub(crate) fn watermark(
        &mut self,
        input: RelationId,
        column: usize,
        expr: Expr,
        position: Position,
    ) -> RelationId {
        let mut columns = self.get(input).columns.clone();
        columns[column].rowtime = true;
        let tables = self.get(input).tables.clone();
        let names: Vec<_> = tables.iter().map(String::as_str).collect();
        let state_uid = Some(self.identify(&format!("watermark {}", names.join(","))));
        let operation = Operation::Watermark {
            input,
            column,
            expr,
        };
        self.push(Relation {
            operation,
            columns,
            tables,
            state_uid,
            position,
        })
    }

    /// Filters, then projects. Columns that pass unchanged stay time attributes.
    pub(crate) fn calc(
        &mut self,
        input: RelationId,
        filter: Option<Expr>,
        project: Vec<(String, Expr)>,
        position: Position,
    ) -> RelationId {
        let source = self.get(input);
        let lineages = source.lineages();
        let columns = project.iter().map(|(name, expr)| Column {
            name: name.clone(),
            ty: expr.ty.clone(),
            rowtime: matches!(expr.kind, ExprKind::Column(index) if source.columns[index].rowtime),
            lineage: Lineage::of_expr(expr, &lineages),
        });
        let columns = columns.collect();
        let tables = source.tables.clone();
        let project = project.into_iter().map(|(_, expr)| expr).collect();
        self.push(Relation {
            operation: Operation::Calc {
                input,
                filter,
                project,
            },
            columns,
            tables,
            state_uid: None,
            position,
        })
    }

    /// All rows of all inputs, which have equal types. Names are those of the first.
    pub(crate) fn union(&mut self, inputs: Vec<RelationId>, position: Position) -> RelationId {
        let width = inputs.first().map_or(0, |id| self.get(*id).columns.len());
        let columns = (0..width).map(|index| {
            let parts: Vec<&Column> = inputs
                .iter()
                .map(|id| &self.get(*id).columns[index])
                .collect();
            let lineages: Vec<&Lineage> = parts.iter().map(|part| &part.lineage).collect();
            let nullable = parts.iter().any(|part| part.ty.nullable);
            Column {
                name: parts[0].name.clone(),
                ty: LogicalType {
                    data: parts[0].ty.data.clone(),
                    nullable,
                },
                rowtime: parts.iter().all(|part| part.rowtime),
                lineage: Lineage::of_union(&lineages),
            }
        });
        let columns = columns.collect();
        let tables = self.tables_of(&inputs);
        self.push(Relation {
            operation: Operation::Union { inputs },
            columns,
            tables,
            state_uid: None,
            position,
        })
    }

    pub(crate) fn sink(
        &mut self,
        input: RelationId,
        table: TableRef,
        position: Position,
    ) -> RelationId {
        let columns = self.get(input).columns.clone();
        let tables = self.get(input).tables.clone();
        let state_uid = Some(self.identify(&format!("sink {}", table.name)));
        self.push(Relation {
            operation: Operation::Sink { input, table },
            columns,
            tables,
            state_uid,
            position,
        })
    }

    /// Aggregates the input by key columns. `place` is the view or sink in whose query the
    /// aggregation is written.
    ///
    /// The uid names the kind, the keys' lineage, the window, the source tables and the place: it
    /// does not depend on filters, aggregates, other columns, or the order of keys and statements.
    pub(crate) fn aggregate(
        &mut self,
        input: RelationId,
        window: Option<(Window, usize)>,
        keys: Vec<usize>,
        calls: Vec<(String, AggregateCall)>,
        place: &str,
        position: Position,
    ) -> RelationId {
        let source = self.get(input);
        let tables = source.tables.clone();
        let mut columns: Vec<Column> = keys
            .iter()
            .map(|key| Column {
                rowtime: false,
                ..source.columns[*key].clone()
            })
            .collect();
        let key_text: Vec<&str> = columns.iter().map(|key| key.lineage.as_str()).collect();
        let table_text: Vec<&str> = tables.iter().map(String::as_str).collect();
        let kind = window.map_or_else(
            || "group".to_owned(),
            |(window, time)| {
                format!(
                    "{} on {}",
                    window_text(window),
                    source.columns[time].lineage.as_str()
                )
            },
        );
        let description = format!(
            "{kind} by [{}] from [{}] in {place}",
            key_text.join(","),
            table_text.join(",")
        );
        let time_type = window.map(|(_, time)| source.columns[time].ty.data.clone());
        let state_uid = self.identify(&description);
        for (name, call) in &calls {
            columns.push(Column {
                name: name.clone(),
                ty: call.ty.clone(),
                rowtime: false,
                lineage: Lineage::new(format!("{state_uid}.{}", call.uid)),
            });
        }
        if let Some(time_type) = time_type {
            for (name, rowtime) in [
                ("window_start", false),
                ("window_end", false),
                ("window_time", true),
            ] {
                columns.push(Column {
                    name: name.to_owned(),
                    ty: LogicalType::not_null(time_type.clone()),
                    rowtime,
                    lineage: Lineage::new(format!("{state_uid}.{name}")),
                });
            }
        }
        let calls = calls.into_iter().map(|(_, call)| call).collect();
        let operation = match window {
            Some((window, time)) => Operation::WindowAggregate {
                input,
                window,
                time,
                keys,
                calls,
            },
            None => Operation::GroupAggregate { input, keys, calls },
        };
        self.push(Relation {
            operation,
            columns,
            tables,
            state_uid: Some(state_uid),
            position,
        })
    }
}

/// A window as text, for identities.
fn window_text(window: Window) -> String {
    match window {
        Window::Tumble { size, offset } => format!("tumble({size},{offset})"),
        Window::Hop {
            slide,
            size,
            offset,
        } => format!("hop({slide},{size},{offset})"),
    }
}
