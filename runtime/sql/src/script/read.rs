//! Reads the statements of a text.

use sqlparser::{
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
};

use super::{
    create,
    cursor::Cursor,
    insert,
    keyword::{is_word, starts_with},
    precheck,
    statement::{Places, Statement},
    unsupported,
};
use crate::{
    dialect::FlinkDialect,
    error::{Position, SqlError},
};

/// Levels of nesting the parser follows.
const MAX_NESTING: usize = 60;

/// Reads all statements; every one that cannot be read adds an error.
pub(crate) fn read(text: &str) -> (Vec<Statement>, Vec<SqlError>) {
    let tokens = match Tokenizer::new(&FlinkDialect, text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            return (Vec::new(), vec![SqlError::from_tokenizer(&error)]);
        }
    };
    let mut reader = Reader {
        set: None,
        statements: Vec::new(),
        errors: Vec::new(),
    };
    let mut chunk = Vec::new();
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(comment))
                if comment.starts_with('+') =>
            {
                reader.errors.push(
                    SqlError::at(token.span.start.into(), "hints are not supported")
                        .hint("write the options into the table's WITH clause"),
                );
            }
            Token::Whitespace(_) => {}
            Token::SemiColon => {
                reader.read_chunk(std::mem::take(&mut chunk), token.span.start.into());
            }
            _ => chunk.push(token),
        }
    }
    let end = chunk
        .last()
        .map_or(Position::START, |token| token.span.end.into());
    reader.read_chunk(chunk, end);
    if let Some(open) = reader.set {
        reader
            .errors
            .push(SqlError::at(open, "the STATEMENT SET is not closed").hint("end it with END;"));
    }
    (reader.statements, reader.errors)
}

struct Reader {
    /// Where the open STATEMENT SET began.
    set: Option<Position>,
    statements: Vec<Statement>,
    errors: Vec<SqlError>,
}

impl Reader {
    fn read_chunk(&mut self, mut tokens: Vec<TokenWithSpan>, end: Position) {
        let Some(start) = tokens.first().map(|token| Position::from(token.span.start)) else {
            return;
        };
        if let Err(error) = precheck::limit_size(&tokens, start) {
            self.errors.push(error);
            return;
        }
        for opening in [
            &["EXECUTE", "STATEMENT", "SET", "BEGIN"][..],
            &["BEGIN", "STATEMENT", "SET"][..],
        ] {
            if starts_with(&tokens, opening) {
                if self.set.replace(start).is_some() {
                    self.errors.push(SqlError::at(
                        start,
                        "a STATEMENT SET cannot stand in another one",
                    ));
                }
                tokens.drain(..opening.len());
            }
        }
        if self.set.is_some() && tokens.len() == 1 && starts_with(&tokens, &["END"]) {
            self.set = None;
            return;
        }
        if tokens.is_empty() {
            return;
        }
        let closing = self.set.is_some() && self.take_unseparated_end(&mut tokens);
        let declared = declared_name(&tokens);
        match self.read_statement(tokens, end) {
            Ok(statement) => self.statements.push(statement),
            Err(error) => {
                self.errors.push(error);
                self.statements.extend(declared.map(Statement::Broken));
            }
        }
        if closing {
            self.set = None;
        }
    }

    /// An END that closes the set although no semicolon stands before it.
    fn take_unseparated_end(&mut self, tokens: &mut Vec<TokenWithSpan>) -> bool {
        let count = |word| {
            tokens
                .iter()
                .filter(|token| is_word(&token.token, word))
                .count()
        };
        let closes = tokens
            .last()
            .is_some_and(|last| is_word(&last.token, "END"))
            && count("END") > count("CASE");
        if let Some(end) = tokens.pop_if(|_| closes) {
            let at = end.span.start.into();
            self.errors
                .push(SqlError::at(at, "a semicolon is missing before END").hint("write … ; END;"));
        }
        closes
    }

    fn read_statement(
        &self,
        tokens: Vec<TokenWithSpan>,
        end: Position,
    ) -> Result<Statement, SqlError> {
        let places = Places::of(&tokens);
        let in_set = self.set.is_some();
        let first = |words: &[&str]| starts_with(&tokens, words);
        if in_set && !first(&["INSERT"]) {
            return Err(SqlError::at(
                places.start,
                "only INSERT INTO can stand in a STATEMENT SET",
            )
            .hint("move the statement before the set, or close the set with END;"));
        }
        let read: fn(&mut Cursor<'_>) -> Result<Statement, SqlError> = if first(&["INSERT"]) {
            insert::read_insert
        } else if first(&["SET"]) {
            insert::read_set
        } else if first(&["CREATE", "TABLE"]) || first(&["CREATE", "TEMPORARY", "TABLE"]) {
            create::read_table
        } else if first(&["CREATE", "VIEW"]) || first(&["CREATE", "TEMPORARY", "VIEW"]) {
            create::read_view
        } else {
            return Err(unsupported::statement(&tokens, places.start));
        };
        precheck::check(&tokens)?;
        let parser = Parser::new(&FlinkDialect)
            .with_recursion_limit(MAX_NESTING)
            .with_tokens_with_locations(without_table_keyword(tokens));
        let mut cursor = Cursor {
            parser,
            places,
            end,
            in_set,
        };
        let statement = read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(statement)
    }
}

/// The name in `CREATE [TEMPORARY] TABLE|VIEW [IF NOT EXISTS] name`.
fn declared_name(tokens: &[TokenWithSpan]) -> Option<String> {
    let skips = |word: &&TokenWithSpan| {
        [
            "CREATE",
            "TEMPORARY",
            "TABLE",
            "VIEW",
            "IF",
            "NOT",
            "EXISTS",
        ]
        .iter()
        .any(|skipped| is_word(&word.token, skipped))
    };
    let begins = ["TABLE", "VIEW"].iter().any(|kind| {
        starts_with(tokens, &["CREATE", kind])
            || starts_with(tokens, &["CREATE", "TEMPORARY", kind])
    });
    match &tokens.iter().find(|token| !skips(token))?.token {
        Token::Word(name) if begins => Some(name.value.clone()),
        _ => None,
    }
}

/// Drops the `TABLE` of `TUMBLE(TABLE t, …)` and `DATA => TABLE t`, which the parser does not know.
fn without_table_keyword(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const WINDOWS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];
    let token = |index: Option<usize>| Some(&tokens.get(index?)?.token);
    let opens_window = |index: usize| match token(index.checked_sub(1)) {
        Some(Token::RArrow) => {
            token(index.checked_sub(2)).is_some_and(|name| is_word(name, "DATA"))
        }
        Some(Token::LParen) => {
            let in_table = token(index.checked_sub(3)) == Some(&Token::LParen)
                && token(index.checked_sub(4)).is_some_and(|word| is_word(word, "TABLE"));
            let mut windows = WINDOWS.iter();
            token(index.checked_sub(2))
                .is_some_and(|name| in_table || windows.any(|window| is_word(name, window)))
        }
        _ => false,
    };
    let is_marker = |index: usize| {
        is_word(&tokens[index].token, "TABLE")
            && matches!(token(Some(index + 1)), Some(Token::Word(_)))
            && token(Some(index + 2)) != Some(&Token::RArrow)
            && opens_window(index)
    };
    let keep: Vec<bool> = (0..tokens.len()).map(|index| !is_marker(index)).collect();
    tokens
        .into_iter()
        .zip(keep)
        .filter_map(|(token, keep)| keep.then_some(token))
        .collect()
}
