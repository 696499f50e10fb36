//! `INSERT INTO` and `SET`.

use std::rc::Rc;

use sqlparser::tokenizer::Token;

use super::{
    cursor::Cursor,
    statement::{Insert, SetOption, Statement},
};
use crate::error::SqlError;

pub(super) fn read_insert(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect(&["INSERT"])?;
    if cursor.sees(&["OVERWRITE"]) {
        return Err(
            SqlError::at(cursor.position(), "INSERT OVERWRITE is not supported")
                .hint("use INSERT INTO"),
        );
    }
    cursor.expect(&["INTO"])?;
    let table = cursor.table_name("a table name")?;
    if cursor.sees(&["PARTITION"]) {
        return Err(SqlError::at(
            cursor.position(),
            "INSERT INTO … PARTITION is not supported",
        ));
    }
    // A parenthesis opens either the list of columns or the query.
    let has_columns = cursor.peek(0) == Token::LParen
        && matches!(cursor.peek(1), Token::Word(_))
        && matches!(cursor.peek(2), Token::Comma | Token::RParen);
    let columns = if has_columns {
        cursor.names("a column name")?
    } else {
        Vec::new()
    };
    let query = Rc::new(cursor.query()?);
    Ok(Statement::Insert(Insert {
        table,
        columns,
        query,
        places: cursor.places.clone(),
        in_set: cursor.in_set,
    }))
}

pub(super) fn read_set(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect(&["SET"])?;
    let key = cursor.string("the name of a setting")?;
    cursor.expect_token(&Token::Eq)?;
    let value = cursor.string("the value")?;
    Ok(Statement::Set(SetOption { key, value }))
}
