//! Checks of a statement before it is parsed: its size, its parentheses and quotes, clauses that
//! follow an operator.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::keyword::is_word;
use crate::error::{Position, SqlError};

/// Longest statement. Deeper trees than this allows could exhaust the stack.
const MAX_TOKENS: usize = 20_000;
/// Most operators (`+`, `AND`, `UNION`, …) in a statement, for the same reason.
const MAX_OPERATORS: usize = 2_000;

pub(super) fn limit_size(tokens: &[TokenWithSpan], start: Position) -> Result<(), SqlError> {
    let is_operator = |token: &&TokenWithSpan| match &token.token {
        Token::Word(word) => ["AND", "OR", "UNION", "NOT", "IS", "BETWEEN", "LIKE", "IN"]
            .iter()
            .any(|operator| word.value.eq_ignore_ascii_case(operator)),
        Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Number(..)
        | Token::SingleQuotedString(_) => false,
        _ => true,
    };
    if tokens.len() > MAX_TOKENS || tokens.iter().filter(is_operator).count() > MAX_OPERATORS {
        return Err(SqlError::at(
            start,
            format!("the statement is too large: at most {MAX_TOKENS} words and signs, {MAX_OPERATORS} of them operators"),
        )
        .hint("split it with CREATE TEMPORARY VIEW"));
    }
    Ok(())
}

/// Refuses what the parser would misread: a parenthesis without its counterpart, double quotes, and
/// a clause where an operator needs a value.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let position = Position::from(token.span.start);
        match &token.token {
            Token::LParen => open.push(position),
            Token::RParen if open.pop().is_none() => {
                let text = "no parenthesis is open that this one could close";
                return Err(SqlError::at(position, text));
            }
            Token::DoubleQuotedString(text) => {
                return Err(
                    SqlError::at(position, "double quotes are not supported").hint(format!(
                        "quote names with backticks, `{text}`, and texts with single quotes, '{text}'"
                    )),
                );
            }
            word if is_word(word, "MATCH_RECOGNIZE")
                && tokens.get(index + 1).map(|next| &next.token) == Some(&Token::LParen) =>
            {
                // The parser does not know all of its clauses: `WITHIN` would hide what it stands
                // in.
                let text = "MATCH_RECOGNIZE is not supported yet";
                return Err(SqlError::at(position, text));
            }
            word if index > 0 && is_clause(word) && needs_value(&tokens[index - 1].token) => {
                return Err(SqlError::at(
                    position,
                    format!("expected an expression, found '{word}'"),
                ));
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(position) => Err(SqlError::at(position, "this parenthesis is not closed")),
        None => Ok(()),
    }
}

fn is_clause(token: &Token) -> bool {
    ["FROM", "WHERE", "GROUP", "HAVING", "UNION"]
        .iter()
        .any(|word| is_word(token, word))
}

fn needs_value(token: &Token) -> bool {
    matches!(
        token,
        Token::Comma
            | Token::Plus
            | Token::Minus
            | Token::Div
            | Token::Mod
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::LtEq
            | Token::Gt
            | Token::GtEq
            | Token::StringConcat
    ) || ["AND", "OR", "NOT"].iter().any(|word| is_word(token, word))
}
