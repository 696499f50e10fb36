//! A pull parser over one JSON text.
//!
//! Numbers stay text, so that a DECIMAL keeps all its digits and a STRING column shows a number as
//! it is written. As in Flink, control characters may stand unescaped in strings.

use std::borrow::Cow;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    /// As written.
    Number(&'a str),
    String(Cow<'a, str>),
    /// An object or array, as written.
    Nested {
        text: &'a str,
        /// Its levels.
        depth: usize,
    },
}

/// Where a text stops being JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object: {what} at column {column}")]
pub(super) struct Malformed {
    /// Byte, from 1.
    column: usize,
    what: &'static str,
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed {
            column: self.at + 1,
            what,
        })
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte after white space.
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes.get(self.at).copied()
    }

    /// Whether nothing but white space is left.
    pub(super) fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Opens the object that the text must be.
    pub(super) fn begin_object(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'{') {
            return self.malformed("expected '{'");
        }
        self.at += 1;
        Ok(())
    }

    /// The next key of the open object, its colon read too; none at the end of the object.
    pub(super) fn next_key(&mut self, first: bool) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
            }
            _ if first => {}
            _ => return self.malformed("expected ',' or '}'"),
        }
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.malformed("expected a key in double quotes");
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return self.malformed("expected ':'");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// The next value.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true").map(|()| Value::Boolean(true)),
            Some(b'f') => self.word("false").map(|()| Value::Boolean(false)),
            Some(b'n') => self.word("null").map(|()| Value::Null),
            Some(b'{' | b'[') => {
                let start = self.at;
                let depth = self.skip_nested()?;
                let text = &self.text[start..self.at];
                Ok(Value::Nested { text, depth })
            }
            Some(_) => self.malformed("expected a value"),
            None => self.malformed("the text ends where a value should be"),
        }
    }

    /// After the last value: nothing may follow.
    pub(super) fn finish(&mut self) -> Result<(), Malformed> {
        if self.at_end() {
            Ok(())
        } else {
            self.malformed("unexpected text after the object")
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.malformed("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at == start {
            self.malformed("expected a digit")
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.bytes.get(self.at) {
                return self.malformed("a number may not start with 0");
            }
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.at += 1;
        let start = self.at;
        let mut unescaped: Option<String> = None;
        let mut run = start;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(next) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.bytes.len();
                return self.malformed("a string without its closing quote");
            };
            self.at += next;
            let text = &self.text[run..self.at];
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(match unescaped {
                    None => Cow::Borrowed(text),
                    Some(mut all) => {
                        all.push_str(text);
                        Cow::Owned(all)
                    }
                });
            }
            let all = unescaped.get_or_insert_default();
            all.push_str(text);
            self.at += 1;
            let escaped = self.escape()?;
            all.push(escaped);
            run = self.at;
        }
    }

    /// The character after a backslash.
    fn escape(&mut self) -> Result<char, Malformed> {
        let character = match self.bytes.get(self.at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.malformed("an unknown escape in a string"),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self) -> Result<char, Malformed> {
        let high = self.hex4()?;
        let code = if (0xD800..0xDC00).contains(&high) {
            if !self.bytes[self.at..].starts_with(b"\\u") {
                return self.malformed("half of a surrogate pair");
            }
            self.at += 2;
            let low = self.hex4()?;
            if !(0xDC00..0xE000).contains(&low) {
                return self.malformed("half of a surrogate pair");
            }
            0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        } else {
            high
        };
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => self.malformed("half of a surrogate pair"),
        }
    }

    fn hex4(&mut self) -> Result<u32, Malformed> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self
                .bytes
                .get(self.at)
                .and_then(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit else {
                return self.malformed("expected four hexadecimal digits");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// Skips an object or array and returns its depth. It does not recurse: each level of a value
    /// that no column reads costs a byte, and no stack.
    fn skip_nested(&mut self) -> Result<usize, Malformed> {
        /// What is open around the next value.
        enum Open {
            Object,
            Array,
        }
        let (mut open, mut depth) = (Vec::new(), 0);
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    open.push(Open::Object);
                    depth = depth.max(open.len());
                    if self.next_key(true)?.is_some() {
                        continue;
                    }
                    open.pop();
                }
                Some(b'[') => {
                    self.at += 1;
                    open.push(Open::Array);
                    depth = depth.max(open.len());
                    if self.peek() != Some(b']') {
                        continue;
                    }
                    self.at += 1;
                    open.pop();
                }
                _ => self.value().map(drop)?,
            }
            // A value ended, and with it perhaps what is around it.
            loop {
                match open.last() {
                    None => return Ok(depth),
                    Some(Open::Object) if self.next_key(false)?.is_some() => break,
                    Some(Open::Object) => {}
                    Some(Open::Array) => match self.peek() {
                        Some(b',') => {
                            self.at += 1;
                            break;
                        }
                        Some(b']') => self.at += 1,
                        _ => return self.malformed("expected ',' or ']'"),
                    },
                }
                open.pop();
            }
        }
    }
}

/// A nested value without the white space between its parts.
pub(super) fn compact(nested: &str) -> String {
    let mut out = String::with_capacity(nested.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in nested.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\r' | '\n') {
            continue;
        } else {
            in_string = character == '"';
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a whole object with the reader, into the shape serde_json would give it.
    fn read(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, Malformed> {
        let mut reader = Reader::new(text);
        let mut object = serde_json::Map::new();
        reader.begin_object()?;
        let mut first = true;
        while let Some(key) = reader.next_key(first)? {
            first = false;
            let value = match reader.value()? {
                Value::Null => serde_json::Value::Null,
                Value::Boolean(value) => value.into(),
                Value::String(text) => text.into_owned().into(),
                Value::Number(text) | Value::Nested { text, .. } => {
                    serde_json::from_str(text).unwrap()
                }
            };
            object.insert(key.into_owned(), value);
        }
        reader.finish()?;
        Ok(object)
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            // Short fractions: serde_json does not read all doubles back exactly.
            any::<i32>().prop_map(|number| (f64::from(number) / 8.0).into()),
            "\\PC*".prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map("[a-c\"\\\\]{0,2}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(
            object in prop::collection::hash_map(".{0,3}", json(), 0..5),
            pretty: bool,
        ) {
            let object: serde_json::Map<_, _> = object.into_iter().collect();
            let text = if pretty {
                serde_json::to_string_pretty(&object).unwrap()
            } else {
                serde_json::to_string(&object).unwrap()
            };
            prop_assert_eq!(read(&text), Ok(object));
        }

        #[test]
        fn it_refuses_what_serde_json_refuses(text in "[{}\\[\\]\":,0-9.eE+\\-\\\\a-fnrtu ]{0,24}") {
            let text = format!("{{\"a\":{text}");
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            match theirs {
                Ok(object) => prop_assert_eq!(read(&text), Ok(object)),
                // Numbers that no double can hold are numbers here.
                Err(error) if error.to_string().contains("out of range") => {}
                Err(_) => prop_assert!(read_only(&text).is_err(), "{}", text),
            }
        }
    }

    fn read_only(text: &str) -> Result<(), Malformed> {
        let mut reader = Reader::new(text);
        reader.begin_object()?;
        let mut first = true;
        while reader.next_key(first)?.is_some() {
            first = false;
            reader.value()?;
        }
        reader.finish()
    }

    #[test]
    fn errors_name_their_position() {
        let error = read("{\"a\": 1, \"b\" 2}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a JSON object: expected ':' at column 14"
        );
        let error = read("[1]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a JSON object: expected '{' at column 1"
        );
    }

    #[test]
    fn any_depth_is_skipped_and_counted() {
        let nested = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
        let whole = |depth: usize| format!("{{\"a\":{}}}", nested(depth).replace(":}", ":0}"));
        for depth in [1, 2, 500_000] {
            let text = whole(depth);
            let mut reader = Reader::new(&text);
            reader.begin_object().unwrap();
            reader.next_key(true).unwrap();
            match reader.value().unwrap() {
                Value::Nested { depth: told, .. } => assert_eq!(told, 2 * depth),
                other => panic!("{other:?}"),
            }
            assert_eq!(reader.next_key(false), Ok(None));
            reader.finish().unwrap();
        }
        assert!(read_only(&format!("{{\"a\":{}", "[".repeat(1_000_000))).is_err());
    }

    #[test]
    fn nested_values_lose_only_white_space() {
        assert_eq!(
            compact("{ \"a b\" : [ 1, \"\\\" \" ] }"),
            "{\"a b\":[1,\"\\\" \"]}"
        );
    }
}
