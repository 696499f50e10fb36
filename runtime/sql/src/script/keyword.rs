//! Words of a statement that are not quoted.

use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether the tokens start with these words.
pub(super) fn starts_with(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens
            .iter()
            .zip(words)
            .all(|(token, word)| is_word(&token.token, word))
}

/// Whether a token is this word, not quoted, in any case of letters.
pub(super) fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}
