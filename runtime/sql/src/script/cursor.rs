//! Reads tokens one by one, with errors that have their position.

use sqlparser::{
    ast,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan},
};
use streamkeeper_protocol::types::DataType;

use super::{
    keyword::is_word,
    statement::{Name, Places},
};
use crate::{
    error::{Position, SqlError},
    types::resolve_type,
};

/// What a user can do about a nested type.
const NESTED: &str = "declare the column STRING, which then holds the JSON text of the value, and take \
                      a text field `name` without escapes out of it with \
                      SPLIT_INDEX(SPLIT_INDEX(column, '\"name\":\"', 1), '\"', 0); flatten the records \
                      before they are read where that is not enough";

/// The parser at some place of one statement.
pub(super) struct Cursor<'a> {
    pub(super) parser: Parser<'a>,
    pub(super) places: Places,
    /// Where the statement ends.
    pub(super) end: Position,
    pub(super) in_set: bool,
}

impl Cursor<'_> {
    /// The next token's place, or the end.
    pub(super) fn position(&self) -> Position {
        let token = self.parser.peek_token();
        Position::from(token.span.start).or(self.end)
    }

    pub(super) fn peek(&self, ahead: usize) -> Token {
        self.parser.peek_nth_token(ahead).token
    }

    /// Whether these words come next.
    pub(super) fn sees(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(ahead, word)| is_word(&self.peek(ahead), word))
    }

    /// Takes these words if they come next.
    pub(super) fn takes(&mut self, words: &[&str]) -> bool {
        let seen = self.sees(words);
        if seen {
            for _ in words {
                self.parser.next_token();
            }
        }
        seen
    }

    pub(super) fn takes_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<(), SqlError> {
        if self.takes(words) {
            Ok(())
        } else {
            Err(self.expected(&words.join(" ")))
        }
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.takes_token(token) {
            Ok(())
        } else {
            Err(self.expected(&format!("'{token}'")))
        }
    }

    pub(super) fn expect_end(&mut self) -> Result<(), SqlError> {
        if self.peek(0) == Token::EOF {
            Ok(())
        } else {
            Err(self.expected("the end of the statement"))
        }
    }

    /// An error at the next token.
    pub(super) fn expected(&self, what: &str) -> SqlError {
        let found = match self.parser.peek_token() {
            TokenWithSpan {
                token: Token::EOF, ..
            } => "the end of the statement".to_owned(),
            TokenWithSpan { token, .. } => format!("'{token}'"),
        };
        SqlError::at(self.position(), format!("expected {what}, found {found}"))
    }

    pub(super) fn name(&mut self, what: &str) -> Result<Name, SqlError> {
        let position = self.position();
        match self.peek(0) {
            Token::Word(word) => {
                self.parser.next_token();
                Ok(Name {
                    text: word.value,
                    position,
                })
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A name without catalog and database.
    pub(super) fn table_name(&mut self, what: &str) -> Result<Name, SqlError> {
        let name = self.name(what)?;
        if self.peek(0) == Token::Period {
            return Err(SqlError::at(
                name.position,
                "names with a catalog or database are not supported",
            )
            .hint("use the table's name alone"));
        }
        Ok(name)
    }

    /// `(a, b, …)`.
    pub(super) fn names(&mut self, what: &str) -> Result<Vec<Name>, SqlError> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.takes_token(&Token::Comma) {
            names.push(self.name(what)?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// A string in single quotes.
    pub(super) fn string(&mut self, what: &str) -> Result<Name, SqlError> {
        let position = self.position();
        match self.peek(0) {
            Token::SingleQuotedString(text) => {
                self.parser.next_token();
                Ok(Name { text, position })
            }
            _ => Err(self.expected(&format!("{what} in single quotes"))),
        }
    }

    pub(super) fn expr(&mut self) -> Result<ast::Expr, SqlError> {
        let result = self.parser.parse_expr();
        self.located(result)
    }

    pub(super) fn query(&mut self) -> Result<ast::Query, SqlError> {
        let result = self.parser.parse_query();
        self.located(result).map(|query| *query)
    }

    pub(super) fn data_type(&mut self) -> Result<DataType, SqlError> {
        let position = self.position();
        for nested in ["ROW", "MAP", "ARRAY", "MULTISET", "RAW"] {
            if self.sees(&[nested]) {
                return Err(SqlError::at(
                    position,
                    format!("the nested type {nested} is not supported yet"),
                )
                .hint(NESTED));
            }
        }
        let result = self.parser.parse_data_type();
        let parsed = self.located(result)?;
        resolve_type(&parsed).map_err(|message| SqlError::at(position, message))
    }

    /// The parser's errors at the end of the statement have no place of their own.
    fn located<T>(&self, result: Result<T, ParserError>) -> Result<T, SqlError> {
        let fallback = match result {
            Err(ParserError::RecursionLimitExceeded) => self.places.start,
            _ => self.end,
        };
        result.map_err(|error| SqlError::from_parser(error, fallback))
    }
}
