//! Constant patterns of `DATE_FORMAT`, `TO_TIMESTAMP`, `TO_DATE` and `LIKE`: what the engine would
//! refuse when the job starts is refused here, with its place.

use std::{iter::Peekable, str::Chars};

/// Whether the engine knows this date pattern: Java's `y u M d H m s S`, quotes, and signs as they
/// are.
pub(super) fn check_date_pattern(pattern: &str) -> Result<(), String> {
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if !skip_quoted(&mut letters) => return Err("a quote is not closed".to_owned()),
            letter if letter.is_ascii_alphabetic() => {
                let mut count = 1;
                while letters.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                let known = match letter {
                    'y' | 'u' => matches!(count, 1 | 2 | 4),
                    'M' | 'd' | 'H' | 'm' | 's' => count <= 2,
                    'S' => count <= 9,
                    _ => false,
                };
                if !known {
                    let letters = letter.to_string().repeat(count);
                    return Err(format!("'{letters}' is not supported in a pattern"));
                }
            }
            '[' | ']' | '{' | '}' | '#' => {
                return Err(format!("'{letter}' is not supported in a pattern"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Skips a text in quotes after its first one; two quotes are one quote. False if it has no end.
fn skip_quoted(letters: &mut Peekable<Chars<'_>>) -> bool {
    if letters.next_if_eq(&'\'').is_some() {
        return true;
    }
    while let Some(letter) = letters.next() {
        if letter == '\'' && letters.next_if_eq(&'\'').is_none() {
            return true;
        }
    }
    false
}

/// Whether the escape character of a LIKE stands before `%`, `_` or itself only.
pub(super) fn escapes_well(pattern: &str, escape: char) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let is_escaped = |next: char| next == '%' || next == '_' || next == escape;
        if letter == escape && !letters.next().is_some_and(is_escaped) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_patterns_are_those_of_the_engine() {
        for known in [
            "yyyy-MM-dd HH:mm:ss.SSS",
            "d/M/yy H'h'm",
            "yyyy-MM-dd'T'HH:mm:ss",
            "'o''clock' ''",
            "",
        ] {
            assert_eq!(check_date_pattern(known), Ok(()), "{known}");
        }
        for unknown in [
            "EEE",
            "yyy",
            "MMM",
            "hh:mm a",
            "[HH]",
            "'open",
            "SSSSSSSSSS",
        ] {
            assert!(check_date_pattern(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn an_escape_stands_before_a_wildcard_or_itself() {
        assert!(escapes_well("a!%!_!!", '!'));
        assert!(escapes_well("a!b", '#'));
        assert!(!escapes_well("a!b", '!'));
        assert!(!escapes_well("a!", '!'));
    }
}
