//! `LIKE`: `%` is any text, `_` any character; without `ESCAPE` nothing else is special.

/// A pattern ready to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Exactly this text.
    Equals(String),
    /// `text%`.
    Starts(String),
    /// `%text`.
    Ends(String),
    /// `%text%`.
    Contains(String),
    /// Anything else.
    General(Vec<Token>),
}

/// A piece of a general pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    Char(char),
    /// `_`.
    One,
    /// `%`.
    Any,
}

impl Pattern {
    /// Parses `pattern`. With an escape character, it must stand before `%`, `_` or itself.
    pub(crate) fn parse(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            let token = match letter {
                letter if Some(letter) == escape => match letters.next() {
                    Some(next) if next == '%' || next == '_' || Some(next) == escape => {
                        Token::Char(next)
                    }
                    _ => {
                        return Err(format!(
                            "the escape character '{letter}' in pattern '{pattern}' must stand before %, _ or itself"
                        ));
                    }
                },
                '%' => Token::Any,
                '_' => Token::One,
                letter => Token::Char(letter),
            };
            if !(token == Token::Any && tokens.last() == Some(&Token::Any)) {
                tokens.push(token);
            }
        }
        Ok(Self::simplest(tokens))
    }

    fn simplest(tokens: Vec<Token>) -> Self {
        let starts_open = tokens.first() == Some(&Token::Any);
        let ends_open =
            tokens.len() > usize::from(starts_open) && tokens.last() == Some(&Token::Any);
        let inner = &tokens[usize::from(starts_open)..tokens.len() - usize::from(ends_open)];
        let text: Option<String> = inner
            .iter()
            .map(|token| match token {
                Token::Char(letter) => Some(*letter),
                _ => None,
            })
            .collect();
        match (text, starts_open, ends_open) {
            (Some(text), false, false) => Self::Equals(text),
            (Some(text), false, true) => Self::Starts(text),
            (Some(text), true, false) => Self::Ends(text),
            (Some(text), true, true) => Self::Contains(text),
            (None, ..) => Self::General(tokens),
        }
    }

    /// Whether `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::Starts(wanted) => text.starts_with(wanted.as_str()),
            Self::Ends(wanted) => text.ends_with(wanted.as_str()),
            Self::Contains(wanted) => text.contains(wanted.as_str()),
            Self::General(tokens) => matches_tokens(tokens, text),
        }
    }
}

/// Greedy matching that returns to the last `%`, which is enough because a later `%` can only match
/// more.
fn matches_tokens(tokens: &[Token], text: &str) -> bool {
    let (mut token, mut rest) = (0, text);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let next = rest.chars().next();
        match (tokens.get(token), next) {
            (Some(Token::Any), _) => {
                retry = Some((token + 1, rest));
                token += 1;
                continue;
            }
            (Some(Token::One), Some(letter)) => {
                token += 1;
                rest = &rest[letter.len_utf8()..];
                continue;
            }
            (Some(Token::Char(wanted)), Some(letter)) if *wanted == letter => {
                token += 1;
                rest = &rest[letter.len_utf8()..];
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after, from)) = retry else {
            return false;
        };
        let Some(skipped) = from.chars().next() else {
            return false;
        };
        let from = &from[skipped.len_utf8()..];
        retry = Some((after, from));
        (token, rest) = (after, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("", "%", true),
            ("", "", true),
            ("", "_", false),
            ("aXbXc", "a%b%c", true),
            ("aXbXcd", "a%b%c", false),
            ("aab", "%a_", true),
            ("mississippi", "m%iss%pp_", true),
            ("mississippi", "m%iss%x%", false),
            ("größe", "gr__e", true),
            ("a.c", "a.c", true),
            ("abc", "a.c", false),
            ("a\nb", "a_b", true),
            ("a\\b", "a\\b", true),
            ("abc", "%%", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern, None).unwrap().matches(text),
                expected,
                "{text:?} LIKE {pattern:?}"
            );
        }
    }

    #[test]
    fn an_escape_makes_wildcards_plain() {
        let pattern = Pattern::parse("50#%_", Some('#')).unwrap();
        assert!(pattern.matches("50%!") && !pattern.matches("500!"));
        assert!(Pattern::parse("50#x", Some('#')).is_err());
        assert!(Pattern::parse("50#", Some('#')).is_err());
    }
}
