//! Tables and views by name.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use streamkeeper_protocol::{
    expr::Expr,
    plan::TableRef,
    types::{DataType, Field, LogicalType, Schema},
};

use crate::{
    coercion::cast,
    error::{Position, SqlError},
    expression::{Aggregates, Analyzer},
    graph::Column,
    lineage::Lineage,
    scope::Scope,
    script::{ColumnKind, CreateTable, CreateView, Name},
    suggest::nearest,
};

/// Entry of the catalog.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Table(Rc<Table>),
    View(Rc<CreateView>),
    /// Its statement is wrong, which has already been reported.
    Broken,
}

/// A declared table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Physical columns, connector and options.
    pub(crate) reference: TableRef,
    /// All columns in declared order, over the physical ones.
    pub(crate) columns: Vec<(String, Expr)>,
    /// The time column among `columns` and its watermark over `columns`.
    pub(crate) watermark: Option<(usize, Expr)>,
    pub(crate) position: Position,
    /// Where each option stands.
    pub(crate) options: HashMap<String, Position>,
}

impl Table {
    /// Whether computed columns make the declared columns differ from the physical ones.
    pub(crate) fn is_computed(&self) -> bool {
        self.columns.len() != self.reference.schema.fields.len()
    }
}

/// Everything declared so far.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    entries: BTreeMap<String, Entry>,
}

impl Catalog {
    /// Finds a table or view. A broken one yields an error without text, because it has already
    /// been reported.
    pub(crate) fn find(&self, name: &str, position: Position) -> Result<Entry, SqlError> {
        if let Some(entry) = self.entries.get(name) {
            return Ok(entry.clone());
        }
        let error = SqlError::at(position, format!("there is no table or view '{name}'"));
        let near = nearest(name, self.entries.keys().map(String::as_str));
        Err(match near.as_slice() {
            [] => error.hint("declare it with CREATE TABLE before it is used"),
            near => error.hint(format!("did you mean {}?", near.join(" or "))),
        })
    }

    /// Marks a name whose declaration is wrong.
    pub(crate) fn mark_broken(&mut self, name: &str) {
        self.entries.entry(name.to_owned()).or_insert(Entry::Broken);
    }

    /// Marks a declared name whose query turned out to be wrong.
    pub(crate) fn replace_broken(&mut self, name: &str) {
        self.entries.insert(name.to_owned(), Entry::Broken);
    }

    fn add(&mut self, name: &Name, if_not_exists: bool, entry: Entry) -> Result<(), SqlError> {
        if !self.entries.contains_key(&name.text) {
            self.entries.insert(name.text.clone(), entry);
            return Ok(());
        }
        if if_not_exists {
            return Ok(());
        }
        Err(
            SqlError::at(name.position, format!("'{}' is declared twice", name.text))
                .hint("give it another name"),
        )
    }

    pub(crate) fn add_view(&mut self, view: CreateView) -> Result<(), SqlError> {
        let (name, if_not_exists) = (view.name.clone(), view.if_not_exists);
        self.add(&name, if_not_exists, Entry::View(Rc::new(view)))
    }

    pub(crate) fn add_table(&mut self, create: &CreateTable) -> Result<(), SqlError> {
        let table = declare(create)?;
        self.add(
            &create.name,
            create.if_not_exists,
            Entry::Table(Rc::new(table)),
        )
    }
}

fn declare(create: &CreateTable) -> Result<Table, SqlError> {
    check_column_names(create)?;
    let mut fields = Vec::new();
    for column in &create.columns {
        if let ColumnKind::Physical { data, nullable } = &column.kind {
            let is_key = create
                .primary_key
                .iter()
                .any(|key| key.text == column.name.text);
            let ty = LogicalType {
                data: data.clone(),
                nullable: *nullable && !is_key,
            };
            fields.push(Field::new(column.name.text.clone(), ty));
        }
    }
    let schema = Schema::new(fields);
    let primary_key = primary_key(create, &schema)?;
    let columns = columns(create, &schema)?;
    let watermark = watermark(create, &columns)?;
    let (connector, options, positions) = options(create)?;
    Ok(Table {
        reference: TableRef {
            name: create.name.text.clone(),
            connector,
            options,
            schema,
            primary_key,
        },
        columns,
        watermark,
        position: create.name.position,
        options: positions,
    })
}

fn check_column_names(create: &CreateTable) -> Result<(), SqlError> {
    for (index, column) in create.columns.iter().enumerate() {
        if create.columns[..index]
            .iter()
            .any(|earlier| earlier.name.text == column.name.text)
        {
            let text = format!("the column '{}' is declared twice", column.name.text);
            return Err(SqlError::at(column.name.position, text));
        }
    }
    if create
        .columns
        .iter()
        .any(|column| matches!(column.kind, ColumnKind::Physical { .. }))
    {
        return Ok(());
    }
    Err(SqlError::at(
        create.name.position,
        "the table has no columns that its connector could read or write",
    ))
}

fn primary_key(create: &CreateTable, schema: &Schema) -> Result<Vec<usize>, SqlError> {
    let mut key = Vec::new();
    for column in &create.primary_key {
        match schema.index_of(&column.text) {
            Some(index) if key.contains(&index) => {
                return Err(SqlError::at(
                    column.position,
                    format!("'{}' is in the primary key twice", column.text),
                ));
            }
            Some(index) => key.push(index),
            None => {
                let text = format!(
                    "the primary key's column '{}' is not a physical column",
                    column.text
                );
                return Err(SqlError::at(column.position, text));
            }
        }
    }
    Ok(key)
}

fn scope_of(name: &str, columns: impl Iterator<Item = (String, LogicalType)>) -> Scope {
    let columns = columns.map(|(column, ty)| Column {
        lineage: Lineage::of_table_column(name, &column),
        name: column,
        ty,
        rowtime: false,
    });
    Scope {
        qualifier: Some(name.to_owned()),
        columns: columns.collect(),
    }
}

/// Declared columns over the physical ones. A computed column sees physical columns only, as in
/// Flink.
fn columns(create: &CreateTable, schema: &Schema) -> Result<Vec<(String, Expr)>, SqlError> {
    let physical = schema
        .fields
        .iter()
        .map(|field| (field.name.clone(), field.ty.clone()));
    let scope = scope_of(&create.name.text, physical);
    let mut columns = Vec::new();
    for column in &create.columns {
        let expr = match &column.kind {
            ColumnKind::Physical { .. } => {
                scope.resolve(&column.name.text, column.name.position)?
            }
            ColumnKind::Computed(expr) => {
                let refused = Aggregates::Refused("a computed column");
                let typed = Analyzer::new(&scope, &create.places, refused).analyze(expr)?;
                let is_interval = matches!(
                    typed.ty.data,
                    DataType::IntervalDayTime | DataType::IntervalYearMonth
                );
                if typed.ty.data == DataType::Null || is_interval {
                    let text = format!(
                        "the computed column '{}' cannot be of type {}",
                        column.name.text, typed.ty.data
                    );
                    return Err(SqlError::at(column.name.position, text));
                }
                typed
            }
        };
        columns.push((column.name.text.clone(), expr));
    }
    Ok(columns)
}

fn watermark(
    create: &CreateTable,
    columns: &[(String, Expr)],
) -> Result<Option<(usize, Expr)>, SqlError> {
    let Some(watermark) = &create.watermark else {
        return Ok(None);
    };
    let position = watermark.column.position;
    let declared = columns
        .iter()
        .map(|(name, expr)| (name.clone(), expr.ty.clone()));
    let scope = scope_of(&create.name.text, declared);
    scope.resolve(&watermark.column.text, position)?;
    let index = columns
        .iter()
        .position(|(name, _)| *name == watermark.column.text)
        .unwrap_or_default();
    let time = &columns[index].1.ty.data;
    if !matches!(
        time,
        DataType::Timestamp { precision: 0..=3 } | DataType::TimestampLtz { precision: 0..=3 }
    ) {
        let text = format!(
            "the time column '{}' is of type {time}",
            watermark.column.text
        );
        return Err(SqlError::at(position, text).hint(
            "a watermark needs TIMESTAMP(3) or TIMESTAMP_LTZ(3): compute one, like ts AS TO_TIMESTAMP(text) or ts AS TO_TIMESTAMP_LTZ(millis, 3)",
        ));
    }
    let mut analyzer = Analyzer::new(&scope, &create.places, Aggregates::Refused("a watermark"));
    let typed = analyzer.analyze(&watermark.expr)?;
    let same_kind = matches!(
        (&typed.ty.data, time),
        (DataType::Timestamp { .. }, DataType::Timestamp { .. })
            | (DataType::TimestampLtz { .. }, DataType::TimestampLtz { .. })
    );
    if !same_kind {
        let at = analyzer.position(&watermark.expr);
        return Err(SqlError::at(
            at,
            format!(
                "the watermark is of type {}, its time column of {time}",
                typed.ty.data
            ),
        )
        .hint(format!(
            "write it like {0} - INTERVAL '5' SECOND",
            watermark.column.text
        )));
    }
    Ok(Some((index, cast(typed, time))))
}

type Options = (String, BTreeMap<String, String>, HashMap<String, Position>);

fn options(create: &CreateTable) -> Result<Options, SqlError> {
    let mut options = BTreeMap::new();
    let mut positions = HashMap::new();
    for option in &create.options {
        let key = option.key.text.clone();
        if options.insert(key.clone(), option.value.clone()).is_some() {
            return Err(SqlError::at(
                option.key.position,
                format!("the option '{key}' is given twice"),
            ));
        }
        positions.insert(key, option.key.position);
    }
    let connector = options.remove("connector").ok_or_else(|| {
        SqlError::at(
            create.name.position,
            format!("the table '{}' has no connector", create.name.text),
        )
        .hint("add 'connector' = '…' to its WITH clause")
    })?;
    Ok((connector, options, positions))
}
