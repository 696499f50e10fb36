//! `CREATE TABLE` and `CREATE VIEW`.

use std::rc::Rc;

use sqlparser::tokenizer::Token;

use super::{
    cursor::Cursor,
    statement::{
        ColumnDef, ColumnKind, CreateTable, CreateView, Name, Statement, TableOption, WatermarkDef,
    },
};
use crate::error::SqlError;

pub(super) fn read_table(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect(&["CREATE"])?;
    cursor.takes(&["TEMPORARY"]);
    cursor.expect(&["TABLE"])?;
    let if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name("a table name")?;
    let mut table = CreateTable {
        name,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        options: Vec::new(),
        places: cursor.places.clone(),
    };
    refuse_without_columns(cursor)?;
    cursor.expect_token(&Token::LParen)?;
    loop {
        read_element(cursor, &mut table)?;
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    if cursor.takes(&["COMMENT"]) {
        cursor.string("a comment")?;
    }
    refuse_clauses(cursor)?;
    if !cursor.takes(&["WITH"]) {
        return Err(cursor.expected("WITH ('connector' = '…')"));
    }
    table.options = read_options(cursor)?;
    refuse_clauses(cursor)?;
    Ok(Statement::CreateTable(Box::new(table)))
}

fn refuse_clauses(cursor: &Cursor<'_>) -> Result<(), SqlError> {
    const CLAUSES: [(&[&str], &str, &str); 6] = [
        (
            &["PARTITIONED", "BY"],
            "PARTITIONED BY",
            "name the partition in the sink's path, or write one table per partition",
        ),
        (
            &["PARTITION", "BY"],
            "PARTITION BY",
            "leave it out: tables are not partitioned",
        ),
        (&["DISTRIBUTED"], "DISTRIBUTED", "leave it out"),
        (&["DISTRIBUTE"], "DISTRIBUTE", "leave it out"),
        (
            &["LIKE"],
            "CREATE TABLE … LIKE",
            "write the columns and options out",
        ),
        (
            &["AS"],
            "CREATE TABLE … AS SELECT",
            "create the table with its columns, then INSERT INTO it",
        ),
    ];
    match CLAUSES.iter().find(|(words, ..)| cursor.sees(words)) {
        Some((_, what, advice)) => {
            Err(SqlError::at(cursor.position(), format!("{what} is not supported")).hint(*advice))
        }
        None => Ok(()),
    }
}

/// Skips the options of a table without columns, to find the clause that would define its columns.
fn refuse_without_columns(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.peek(0) == Token::LParen {
        return Ok(());
    }
    refuse_clauses(cursor)?;
    let missing = cursor.expected("'('");
    if cursor.takes(&["WITH"]) {
        read_options(cursor)?;
        refuse_clauses(cursor)?;
    }
    Err(missing)
}

/// One element between the parentheses: a column, the watermark or the primary key.
fn read_element(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    let position = cursor.position();
    if cursor.takes(&["WATERMARK", "FOR"]) {
        let column = cursor.name("the time column")?;
        if cursor.peek(0) == Token::Period {
            return Err(SqlError::at(
                cursor.position(),
                "a watermark on a field of a nested column is not supported",
            ));
        }
        cursor.expect(&["AS"])?;
        let expr = cursor.expr()?;
        if table
            .watermark
            .replace(WatermarkDef { column, expr })
            .is_some()
        {
            return Err(SqlError::at(position, "a table has one WATERMARK at most"));
        }
        return Ok(());
    }
    if cursor.takes(&["CONSTRAINT"]) {
        cursor.name("a constraint name")?;
        if !cursor.sees(&["PRIMARY", "KEY"]) {
            return Err(cursor.expected("PRIMARY KEY"));
        }
    }
    if cursor.takes(&["PRIMARY", "KEY"]) {
        let columns = cursor.names("a column name")?;
        not_enforced(cursor)?;
        return set_primary_key(table, columns);
    }
    for constraint in ["UNIQUE", "FOREIGN", "CHECK", "PERIOD"] {
        if cursor.sees(&[constraint]) && !matches!(cursor.peek(1), Token::Word(_)) {
            return Err(SqlError::at(
                position,
                format!("{constraint} constraints are not supported"),
            )
            .hint("supported is PRIMARY KEY (…) NOT ENFORCED"));
        }
    }
    read_column(cursor, table)
}

fn read_column(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), SqlError> {
    let name = cursor.name("a column name")?;
    if cursor.takes(&["AS"]) {
        let kind = ColumnKind::Computed(Box::new(cursor.expr()?));
        comment(cursor)?;
        table.columns.push(ColumnDef { name, kind });
        return Ok(());
    }
    let data = cursor.data_type()?;
    let mut nullable = None;
    loop {
        let position = cursor.position();
        let not_null = cursor.takes(&["NOT", "NULL"]);
        if not_null || cursor.takes(&["NULL"]) {
            if nullable.replace(!not_null).is_some() {
                let text = format!(
                    "the column '{}' says twice whether it may be NULL",
                    name.text
                );
                return Err(SqlError::at(position, text));
            }
        } else if cursor.takes(&["PRIMARY", "KEY"]) {
            not_enforced(cursor)?;
            set_primary_key(table, vec![name.clone()])?;
        } else if cursor.sees(&["METADATA"]) {
            return Err(SqlError::at(
                cursor.position(),
                format!("the METADATA column '{}' is not supported", name.text),
            )
            .hint("read what you need from the record itself"));
        } else if cursor.sees(&["DEFAULT"]) {
            return Err(SqlError::at(cursor.position(), "DEFAULT is not supported")
                .hint("use COALESCE in the query"));
        } else {
            break;
        }
    }
    comment(cursor)?;
    table.columns.push(ColumnDef {
        name,
        kind: ColumnKind::Physical {
            data,
            nullable: nullable.unwrap_or(true),
        },
    });
    Ok(())
}

fn comment(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.takes(&["COMMENT"]) {
        cursor.string("a comment")?;
    }
    Ok(())
}

fn not_enforced(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.takes(&["NOT", "ENFORCED"]) {
        return Ok(());
    }
    Err(cursor
        .expected("NOT ENFORCED")
        .hint("the engine does not own the data, so it cannot enforce keys"))
}

fn set_primary_key(table: &mut CreateTable, columns: Vec<Name>) -> Result<(), SqlError> {
    match columns.first() {
        Some(first) if !table.primary_key.is_empty() => Err(SqlError::at(
            first.position,
            "a table has one PRIMARY KEY at most",
        )),
        _ => {
            table.primary_key = columns;
            Ok(())
        }
    }
}

fn read_options(cursor: &mut Cursor<'_>) -> Result<Vec<TableOption>, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let mut options = Vec::new();
    loop {
        let key = cursor.string("an option")?;
        cursor.expect_token(&Token::Eq)?;
        let value = cursor.string("a value")?.text;
        options.push(TableOption { key, value });
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(options)
}

pub(super) fn read_view(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect(&["CREATE"])?;
    cursor.takes(&["TEMPORARY"]);
    cursor.expect(&["VIEW"])?;
    let if_not_exists = cursor.takes(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name("a view name")?;
    let columns = if cursor.peek(0) == Token::LParen {
        cursor.names("a column name")?
    } else {
        Vec::new()
    };
    comment(cursor)?;
    cursor.expect(&["AS"])?;
    let query = Rc::new(cursor.query()?);
    Ok(Statement::CreateView(CreateView {
        name,
        if_not_exists,
        columns,
        query,
        places: cursor.places.clone(),
    }))
}
