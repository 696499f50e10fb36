//! Statements of Flink that Streamkeeper does not run, and what to do instead.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::keyword::starts_with;
use crate::error::{Position, SqlError};

const SUPPORTED: &str =
    "supported are CREATE TABLE, CREATE VIEW, SET, INSERT INTO and STATEMENT SET";

const REFUSALS: [(&[&str], &str); 15] = [
    (
        &["SELECT"],
        "a job writes its result: put INSERT INTO before the query",
    ),
    (
        &["WITH"],
        "a job writes its result: put INSERT INTO before the query",
    ),
    (
        &["CREATE", "OR"],
        "there is nothing to replace: write CREATE TABLE or CREATE TEMPORARY VIEW",
    ),
    (
        &["CREATE", "FUNCTION"],
        "user-defined functions are not supported",
    ),
    (&["CREATE", "TEMPORARY"], SUPPORTED),
    (
        &["CREATE", "CATALOG"],
        "catalogs are not supported: declare the tables with CREATE TABLE",
    ),
    (
        &["CREATE", "DATABASE"],
        "databases are not supported: declare the tables with CREATE TABLE",
    ),
    (
        &["USE"],
        "catalogs and databases are not supported: leave it out",
    ),
    (
        &["DROP"],
        "every job starts from its own text: leave out what you do not need",
    ),
    (
        &["ALTER"],
        "every job starts from its own text: change the CREATE statement",
    ),
    (&["ADD"], "jars cannot be loaded"),
    (&["EXPLAIN"], "`streamjob-runtime check` prints the plan"),
    (&["END"], "there is no open STATEMENT SET here"),
    (&["UPDATE"], "a job only adds results: use INSERT INTO"),
    (&["DELETE"], "a job only adds results: use INSERT INTO"),
];

/// The error for a statement that begins with these tokens.
pub(super) fn statement(tokens: &[TokenWithSpan], position: Position) -> SqlError {
    let words: Vec<String> = tokens
        .iter()
        .take(2)
        .map_while(|token| match &token.token {
            Token::Word(word) => Some(word.value.to_uppercase()),
            _ => None,
        })
        .collect();
    let known = REFUSALS
        .iter()
        .find(|(words, _)| starts_with(tokens, words));
    let (what, advice) = match known {
        Some((words, advice)) => (words.join(" "), *advice),
        None if words.is_empty() => {
            return SqlError::at(position, "a statement is expected here").hint(SUPPORTED);
        }
        None => (words.join(" "), SUPPORTED),
    };
    SqlError::at(position, format!("the statement {what} is not supported")).hint(advice)
}
