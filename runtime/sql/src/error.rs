//! Errors and warnings, with the position they are about.

use std::fmt;

use sqlparser::{
    parser::ParserError,
    tokenizer::{Location, TokenizerError},
};

/// A value, or the error that refuses the text.
pub(crate) type Result<T> = std::result::Result<T, SqlError>;

/// A place in the SQL text, counted from 1 in lines and characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Position {
    /// Start of the text.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// Whether the parser knew the place.
    pub(crate) fn is_known(self) -> bool {
        self.line > 0
    }

    /// This place, or `other` where it is not known.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.is_known() { self } else { other }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self {
            line: location.line,
            column: location.column,
        }
    }
}

/// Why a text does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SqlError {
    /// Line, from 1.
    pub line: u64,
    /// Character in the line, from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error at `position`.
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Self {
        let position = position.or(Position::START);
        Self {
            line: position.line,
            column: position.column,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds advice to the error.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error of the tokenizer: something is not closed.
    pub(crate) fn from_tokenizer(error: &TokenizerError) -> Self {
        let message = if error.message.contains("multi-line comment") {
            "the text ends within a comment: close it with */".to_owned()
        } else {
            lower_first(error.message.trim_end_matches('.'))
        };
        Self::at(error.location.into(), message)
    }

    /// An error of the parser. It states its place at the end of its text; `fallback` serves where
    /// it does not.
    pub(crate) fn from_parser(error: ParserError, fallback: Position) -> Self {
        match error {
            ParserError::RecursionLimitExceeded => {
                Self::at(fallback, "the statement nests too deeply")
                    .hint("split it with CREATE TEMPORARY VIEW")
            }
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
                let (message, position) = split_place(&text);
                Self::at(position.unwrap_or(fallback), reworded(message))
            }
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}:{}: {}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Something that compiles but does not do what the author may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlWarning {
    /// Line, from 1.
    pub line: u64,
    /// Character in the line, from 1.
    pub column: u64,
    /// What, and what to do about it.
    pub message: String,
}

impl SqlWarning {
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Self {
        let position = position.or(Position::START);
        Self {
            line: position.line,
            column: position.column,
            message: message.into(),
        }
    }
}

impl fmt::Display for SqlWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}:{}: warning: {}",
            self.line, self.column, self.message
        )
    }
}

/// Splits `… at Line: 3, Column: 14` into the text before and the place.
fn split_place(text: &str) -> (&str, Option<Position>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let Some((line, column)) = place.split_once(", Column: ") else {
        return (text, None);
    };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (message, Some(Position { line, column })),
        _ => (text, None),
    }
}

/// Rewords a message like `Expected: ), found: EOF` in the style of this crate.
fn reworded(message: &str) -> String {
    let expected = message.strip_prefix("Expected: ");
    match expected.and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((what, "EOF")) => format!("expected {what}, found the end of the statement"),
        Some((what, found)) => format!("expected {what}, found '{found}'"),
        None => lower_first(message),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_parser_error_is_read_from_its_text() {
        let error =
            ParserError::ParserError("Expected: ), found: EOF at Line: 3, Column: 14".into());
        let error = SqlError::from_parser(error, Position::START);
        assert_eq!(
            error.to_string(),
            "line 3:14: expected ), found the end of the statement"
        );
    }

    #[test]
    fn a_parser_error_without_place_is_put_at_the_statement() {
        let error = SqlError::from_parser(
            ParserError::RecursionLimitExceeded,
            Position { line: 7, column: 2 },
        );
        assert_eq!((error.line, error.column), (7, 2));
    }
}
