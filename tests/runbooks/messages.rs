//! Whether a message that a page shows is made by the code: it must fit a format string, and so
//! must longer parts of what is filled in there.

use std::fs;

use crate::{code::sources, root};

/// Parts of messages that the kubelet, the scheduler and the API server make.
const WORDS_OF_OTHERS: [&str; 3] = [
    "Back-off pulling image",
    "nodes are available",
    "exceeded quota",
];

/// The message that a line of `kubectl describe` or of `kubectl events` shows.
pub fn message(line: &str) -> Option<&str> {
    if let Some((_, message)) = line.split_once("    Message:               ") {
        return Some(message);
    }
    let is_event = [" Warning ", " Normal "]
        .iter()
        .any(|kind| line.contains(kind));
    // Its columns are separated by three spaces or more.
    is_event.then(|| line.rsplit("   ").next().unwrap().trim())
}

/// A string of the code, cut where something is filled in.
pub type Literal = Vec<String>;

/// Every string of the code that is long enough to be told from others.
pub fn literals() -> Vec<Literal> {
    let mut found = Vec::new();
    let crates = ["operator", "runtime"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let folders = crates.into_iter().flatten();
    for source in folders
        .map(|entry| entry.unwrap().path().join("src"))
        .chain([root().join("src")])
        .flat_map(|folder| sources(&folder))
    {
        found.extend(strings(&source).iter().map(|text| cut(text)));
    }
    found.retain(|literal| fixed(literal) >= 12);
    assert!(found.len() > 500, "{}", found.len());
    found
}

/// The strings of a source file.
fn strings(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, next)| next);
        } else if let Some(next) = rest.strip_prefix("'\"'").or(rest.strip_prefix("'\\\"'")) {
            rest = next;
        } else if let Some(inside) = rest.strip_prefix('"') {
            let (text, next) = string(inside);
            found.push(text);
            rest = next;
        } else {
            rest = &rest[1..];
        }
    }
    found
}

/// A string up to its closing quote, and what comes after.
fn string(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '"' => break,
            '\\' if rest.starts_with('\n') => rest = rest.trim_start(),
            '\\' => {
                let escaped = rest.chars().next().unwrap_or_default();
                text.push(escaped);
                rest = &rest[escaped.len_utf8().min(rest.len())..];
            }
            other => text.push(other),
        }
    }
    (text, rest)
}

/// A format string without its holes.
fn cut(text: &str) -> Literal {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        if let Some(after) = rest
            .strip_prefix(next)
            .filter(|_| matches!(next, '{' | '}'))
        {
            part.push(next);
            rest = after;
        } else if next == '{' {
            parts.push(std::mem::take(&mut part));
            rest = rest.split_once('}').map_or("", |(_, after)| after);
        } else {
            part.push(next);
        }
    }
    parts.push(part);
    parts
}

/// Characters that are the same in every message made of it.
fn fixed(literal: &[String]) -> usize {
    literal.iter().map(String::len).sum()
}

/// Whether a message is made of one of these strings, and so is what is filled in there, if it is
/// more than a few words; else the part that is not.
pub fn is_made_by<'a>(made: &[Literal], message: &'a str) -> Result<(), &'a str> {
    let fitting = made
        .iter()
        .filter_map(|literal| Some((fixed(literal), filled_in(literal, message)?)));
    let (_, filled) = fitting.max_by_key(|(fixed, _)| *fixed).ok_or(message)?;
    let ours = |part: &&str| {
        part.split(' ').count() > 5
            && !WORDS_OF_OTHERS.iter().any(|words| part.contains(words))
            && !made.iter().any(|literal| stands_in(literal, part))
    };
    filled.into_iter().find(ours).map_or(Ok(()), Err)
}

/// What a literal's holes hold, if it makes this message.
fn filled_in<'a>(literal: &[String], message: &'a str) -> Option<Vec<&'a str>> {
    let (first, rest) = literal.split_first()?;
    let mut left = message.strip_prefix(first.as_str())?;
    let Some((last, middle)) = rest.split_last() else {
        return left.is_empty().then(Vec::new);
    };
    left = left.strip_suffix(last.as_str())?;
    let mut filled = Vec::new();
    for part in middle {
        let (hole, after) = left.split_once(part.as_str())?;
        filled.push(hole);
        left = after;
    }
    filled.push(left);
    Some(filled)
}

/// Whether all parts of a literal stand in this text, in their order.
fn stands_in(literal: &[String], text: &str) -> bool {
    let mut left = text;
    literal.iter().all(|part| {
        let found = left.split_once(part.as_str());
        left = found.map_or("", |(_, after)| after);
        found.is_some()
    })
}
