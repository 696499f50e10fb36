//! The statements of a SQL text: what is written, before anything is looked up.
//!
//! The text is cut at semicolons, so that a mistake in one statement does not hide those in the
//! next. In reading order:
//! * `statement`: the statements and where their words stand.
//! * `read`: cuts the text and reads each statement.
//! * `precheck`: refuses what the parser would misread; `unsupported`: statements that Flink has
//!   and Streamkeeper does not run.
//! * `create`, `insert`: `CREATE TABLE`, `CREATE VIEW`, `INSERT INTO` and `SET`.
//! * `cursor`, `keyword`: the parser's position, and words at it.

mod create;
mod cursor;
mod insert;
mod keyword;
mod precheck;
mod read;
mod statement;
mod unsupported;

pub(crate) use read::read;
pub(crate) use statement::{
    ColumnKind, CreateTable, CreateView, Insert, Name, Places, SetOption, Statement,
};
