//! The statements of a SQL text, as they are written.

use std::rc::Rc;

use sqlparser::{
    ast,
    tokenizer::{Token, TokenWithSpan},
};
use streamkeeper_protocol::types::DataType;

use crate::error::Position;

/// A statement that Streamkeeper runs.
#[derive(Debug)]
pub(crate) enum Statement {
    CreateTable(Box<CreateTable>),
    CreateView(CreateView),
    Set(SetOption),
    Insert(Insert),
    /// A table or view of this name whose statement cannot be read, which has already been
    /// reported.
    Broken(String),
}

/// A name and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ColumnDef>,
    pub(crate) watermark: Option<WatermarkDef>,
    pub(crate) primary_key: Vec<Name>,
    pub(crate) options: Vec<TableOption>,
    pub(crate) places: Places,
}

#[derive(Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: Name,
    pub(crate) kind: ColumnKind,
}

#[derive(Debug)]
pub(crate) enum ColumnKind {
    Physical { data: DataType, nullable: bool },
    Computed(Box<ast::Expr>),
}

#[derive(Debug)]
pub(crate) struct WatermarkDef {
    pub(crate) column: Name,
    pub(crate) expr: ast::Expr,
}

#[derive(Debug)]
pub(crate) struct TableOption {
    pub(crate) key: Name,
    pub(crate) value: String,
}

#[derive(Debug)]
pub(crate) struct CreateView {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<Name>,
    pub(crate) query: Rc<ast::Query>,
    pub(crate) places: Places,
}

#[derive(Debug)]
pub(crate) struct SetOption {
    pub(crate) key: Name,
    pub(crate) value: Name,
}

#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: Name,
    pub(crate) columns: Vec<Name>,
    pub(crate) query: Rc<ast::Query>,
    pub(crate) places: Places,
    /// Whether it stands in a STATEMENT SET.
    pub(crate) in_set: bool,
}

/// Where the words of a statement stand. The syntax tree does not hold the position of every
/// clause; that of a refused clause is found here by its first word.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    words: Rc<[(String, Position)]>,
    /// Start of the statement.
    pub(crate) start: Position,
}

impl Places {
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Self {
        let words = tokens.iter().filter_map(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => {
                Some((word.value.to_ascii_uppercase(), token.span.start.into()))
            }
            _ => None,
        });
        let start = tokens
            .first()
            .map_or(Position::START, |token| token.span.start.into());
        Self {
            words: words.collect(),
            start,
        }
    }

    /// Last occurrence of `word` at or before `place`, or that place.
    pub(crate) fn before(&self, word: &str, place: Position) -> Position {
        let mut found = self.words.iter().rev();
        found
            .find(|(text, at)| text == word && *at <= place)
            .map_or(place, |(_, at)| *at)
    }

    /// First occurrence of `word` at or after `from`, or the place `from` itself.
    pub(crate) fn find(&self, word: &str, from: Position) -> Position {
        let from = from.or(self.start);
        let mut found = self
            .words
            .iter()
            .filter(|(text, at)| text == word && *at >= from);
        found.next().map_or(from, |(_, at)| *at)
    }
}
