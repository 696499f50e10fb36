//! Flink's lexical rules for the tokenizer and parser.

use sqlparser::{
    ast::{DataType, Ident, ObjectName, TypeModifier},
    dialect::Dialect,
    keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS},
    parser::{Parser, ParserError},
    tokenizer::Token,
};

/// Backticks quote names, names keep their case, strings have no escape but `''`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlinkDialect;

impl Dialect for FlinkDialect {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    /// Words that cannot be a name unquoted, so that a mistake after such a word is reported at its
    /// position.
    fn is_reserved_for_identifier(&self, word: Keyword) -> bool {
        use Keyword as K;
        matches!(
            word,
            K::ARRAY
                | K::CASE
                | K::CAST
                | K::EXISTS
                | K::EXTRACT
                | K::INTERVAL
                | K::NOT
                | K::STRUCT
                | K::TRIM
                | K::TRY_CAST
        )
    }

    fn is_column_alias(&self, word: &Keyword, _parser: &mut Parser) -> bool {
        !RESERVED_FOR_COLUMN_ALIAS.contains(word) && !is_reserved(*word)
    }

    fn is_table_alias(&self, word: &Keyword, _parser: &mut Parser) -> bool {
        !RESERVED_FOR_TABLE_ALIAS.contains(word) && !is_reserved(*word)
    }

    fn supports_string_literal_column_alias(&self, _explicit: bool) -> bool {
        false
    }

    fn supports_string_literal_table_alias(&self, _explicit: bool) -> bool {
        false
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    /// Parsed so that it can be refused with its position.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    /// Parsed so that it can be refused with its position.
    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn parse_data_type(&self, parser: &mut Parser) -> Option<Result<DataType, ParserError>> {
        with_local_time_zone(parser)
    }
}

/// Words that name nothing unquoted and without AS; as an alias, one of them would hide a mistake.
fn is_reserved(word: Keyword) -> bool {
    use Keyword as K;
    matches!(
        word,
        K::ALL
            | K::AND
            | K::AS
            | K::BETWEEN
            | K::BY
            | K::CASE
            | K::DISTINCT
            | K::ELSE
            | K::EXISTS
            | K::FALSE
            | K::FILTER
            | K::IN
            | K::INTERVAL
            | K::IS
            | K::LIKE
            | K::NOT
            | K::NULL
            | K::OR
            | K::OVER
            | K::TABLE
            | K::THEN
            | K::TRUE
            | K::WHEN
            | K::WITHIN
    )
}

/// `TIMESTAMP [(p)] WITH LOCAL TIME ZONE` is another name of `TIMESTAMP_LTZ(p)`; everything else is
/// left to the parser.
fn with_local_time_zone(parser: &mut Parser) -> Option<Result<DataType, ParserError>> {
    const TAIL: [&str; 4] = ["WITH", "LOCAL", "TIME", "ZONE"];
    let Token::Word(word) = parser.peek_token().token else {
        return None;
    };
    if word.keyword != Keyword::TIMESTAMP {
        return None;
    }
    let mut length = 1;
    let mut precision = Vec::new();
    if parser.peek_nth_token(1).token == Token::LParen {
        if let Token::Number(digits, _) = parser.peek_nth_token(2).token {
            precision.push(TypeModifier::Number(digits, false));
        }
        length = 4;
    }
    for (index, expected) in TAIL.iter().enumerate() {
        match parser.peek_nth_token(length + index).token {
            Token::Word(word) if word.value.eq_ignore_ascii_case(expected) => {}
            _ => return None,
        }
    }
    for _ in 0..length + TAIL.len() {
        parser.next_token();
    }
    let name = ObjectName::from(vec![Ident::new("TIMESTAMP_LTZ")]);
    Some(Ok(DataType::Custom(name, precision)))
}
