//! Functions of texts. Positions count characters (code points), from 1.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{Array, BooleanArray, Int32Array, types::Int64Type};
use streamkeeper_protocol::{expr::Function, types::DataType};

use super::{
    ExprError,
    call_context::CallContext,
    int64,
    like::Pattern,
    node::Kernel,
    value::{Value, build_strings},
};

/// The kernel for a call.
pub(crate) fn kernel(context: &CallContext<'_>) -> Result<Kernel, ExprError> {
    let texts = match context.function {
        Function::Substring => 1,
        Function::Replace => 3,
        Function::SplitIndex => 2,
        _ => context.args.len(),
    };
    let all_texts = context.args[..texts].iter().all(|data| data.is_string());
    let all_integers = context.args[texts..].iter().all(|data| {
        matches!(
            data,
            DataType::TinyInt | DataType::SmallInt | DataType::Int | DataType::BigInt
        )
    });
    if !all_texts || !all_integers {
        return Err(context.unsupported());
    }
    Ok(match context.function {
        Function::CharLength => integers(|texts, row| Some(count(texts.get(row)?))),
        Function::Position => Box::new(|args, rows| {
            let (needle, text) = (args[0].strings()?, args[1].strings()?);
            Ok(Arc::new(
                (0..rows)
                    .map(|row| Some(position(needle.get(row)?, text.get(row)?)))
                    .collect::<Int32Array>(),
            ))
        }),
        Function::Upper => mapped(|text| Some(Cow::Owned(text.to_uppercase()))),
        Function::Lower => mapped(|text| Some(Cow::Owned(text.to_lowercase()))),
        Function::Trim | Function::TrimLeading | Function::TrimTrailing => trim(context.function),
        Function::Substring => substring(),
        Function::Concat => Box::new(|args, rows| {
            let texts = args
                .iter()
                .map(Value::strings)
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(build_strings(rows, move |row| {
                Ok(texts
                    .iter()
                    .map(|text| text.get(row))
                    .collect::<Option<String>>())
            })?))
        }),
        Function::ConcatWs => Box::new(|args, rows| {
            let texts = args
                .iter()
                .map(Value::strings)
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(build_strings(rows, move |row| {
                let Some(separator) = texts[0].get(row) else {
                    return Ok(None);
                };
                Ok(Some(
                    texts[1..]
                        .iter()
                        .filter_map(|text| text.get(row))
                        .collect::<Vec<_>>()
                        .join(separator),
                ))
            })?))
        }),
        Function::Replace => Box::new(|args, rows| {
            let (text, from, to) = (args[0].strings()?, args[1].strings()?, args[2].strings()?);
            Ok(Arc::new(build_strings(rows, move |row| {
                Ok(replace(text.get(row), from.get(row), to.get(row)))
            })?))
        }),
        Function::SplitIndex => Box::new(|args, rows| {
            let (text, separator) = (args[0].strings()?, args[1].strings()?);
            let index = int64::as_i64(&args[2])?;
            let index = index.primitive::<Int64Type>()?;
            Ok(Arc::new(build_strings(rows, |row| {
                Ok(split_index(
                    text.get(row),
                    separator.get(row),
                    index.get(row),
                ))
            })?))
        }),
        _ => return Err(context.unsupported()),
    })
}

fn integers(f: fn(&super::value::Strings<'_>, usize) -> Option<i32>) -> Kernel {
    Box::new(move |args, rows| {
        let texts = args[0].strings()?;
        Ok(Arc::new(
            (0..rows).map(|row| f(&texts, row)).collect::<Int32Array>(),
        ))
    })
}

fn mapped(f: fn(&str) -> Option<Cow<'_, str>>) -> Kernel {
    Box::new(move |args, rows| {
        let texts = args[0].strings()?;
        Ok(Arc::new(build_strings(rows, move |row| {
            Ok(texts.get(row).and_then(f))
        })?))
    })
}

fn count(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

fn position(needle: &str, text: &str) -> i32 {
    text.find(needle).map_or(0, |at| count(&text[..at]) + 1)
}

fn trim(function: Function) -> Kernel {
    Box::new(move |args, rows| {
        let texts = args[0].strings()?;
        let chars = args.get(1).map(Value::strings).transpose()?;
        Ok(Arc::new(build_strings(rows, move |row| {
            let chars = match &chars {
                Some(chars) => chars.get(row),
                None => Some(" "),
            };
            let (Some(text), Some(chars)) = (texts.get(row), chars) else {
                return Ok(None);
            };
            let among = |letter: char| chars.contains(letter);
            Ok(Some(match function {
                Function::TrimLeading => text.trim_start_matches(among),
                Function::TrimTrailing => text.trim_end_matches(among),
                _ => text.trim_matches(among),
            }))
        })?))
    })
}

fn substring() -> Kernel {
    Box::new(|args, rows| {
        let texts = args[0].strings()?;
        let start = int64::as_i64(&args[1])?;
        let start = start.primitive::<Int64Type>()?;
        let length = args.get(2).map(int64::as_i64).transpose()?;
        let length = length
            .as_ref()
            .map(Value::primitive::<Int64Type>)
            .transpose()?;
        Ok(Arc::new(build_strings(rows, move |row| {
            let length = match &length {
                Some(length) => length.get(row),
                None => Some(i64::MAX),
            };
            let (Some(text), Some(start), Some(length)) = (texts.get(row), start.get(row), length)
            else {
                return Ok(None);
            };
            Ok(slice(text, start, length))
        })?))
    })
}

/// Characters from `start` (1-based, 0 counts as 1, negative from the end); NULL for a negative
/// length.
fn slice(text: &str, start: i64, length: i64) -> Option<&str> {
    if length < 0 {
        return None;
    }
    let skip = if start < 0 {
        let from_end = i64::from(count(text)) + start;
        if from_end < 0 {
            return Some("");
        }
        from_end
    } else {
        (start - 1).max(0)
    };
    let at = |position: i64| {
        text.char_indices()
            .nth(usize::try_from(position).unwrap_or(usize::MAX))
            .map_or(text.len(), |(at, _)| at)
    };
    let from = at(skip);
    let to = skip.checked_add(length).map_or(text.len(), at);
    Some(&text[from..to])
}

fn replace(text: Option<&str>, from: Option<&str>, to: Option<&str>) -> Option<String> {
    Some(text?.replace(from?, to?))
}

fn split_index<'a>(
    text: Option<&'a str>,
    separator: Option<&str>,
    index: Option<i64>,
) -> Option<&'a str> {
    let (text, separator, index) = (text?, separator?, usize::try_from(index?).ok()?);
    if text.is_empty() {
        return None;
    }
    // An empty separator means a space, as in the library that Flink uses.
    text.split(if separator.is_empty() { " " } else { separator })
        .nth(index)
}

/// `LIKE`; fails on a bad use of the escape character.
pub(crate) fn like_kernel(context: &CallContext<'_>) -> Result<(Kernel, bool), ExprError> {
    if !context.args.iter().all(|data| data.is_string()) {
        return Err(context.unsupported());
    }
    let escape_of = |escape: Option<&str>| -> Result<Option<char>, ExprError> {
        let mut letters = escape.unwrap_or_default().chars();
        match (letters.next(), letters.next()) {
            (letter, None) => Ok(letter),
            _ => Err(ExprError::new(
                "LIKE",
                format!(
                    "the escape '{}' must be one character",
                    escape.unwrap_or_default()
                ),
            )),
        }
    };
    let parse = |pattern: &str, escape: Option<char>| {
        Pattern::parse(pattern, escape).map_err(|detail| ExprError::new("LIKE", detail))
    };
    let is_constant = context.constants[1..]
        .iter()
        .all(|constant| constant.as_ref().is_some_and(|array| array.is_valid(0)));
    if is_constant {
        let escape = if context.args.len() > 2 {
            Some(context.constant_text(2)?)
        } else {
            None
        };
        let pattern = parse(&context.constant_text(1)?, escape_of(escape.as_deref())?)?;
        let kernel: Kernel = Box::new(move |args, rows| {
            let texts = args[0].strings()?;
            Ok(Arc::new(
                (0..rows)
                    .map(|row| Some(pattern.matches(texts.get(row)?)))
                    .collect::<BooleanArray>(),
            ))
        });
        return Ok((kernel, false));
    }
    let kernel: Kernel = Box::new(move |args, rows| {
        let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
        let escapes = args.get(2).map(Value::strings).transpose()?;
        let matched = (0..rows)
            .map(|row| {
                let escape = escapes.as_ref().map(|escapes| escapes.get(row));
                let (Some(text), Some(pattern), false) =
                    (texts.get(row), patterns.get(row), escape == Some(None))
                else {
                    return Ok(None);
                };
                Ok(Some(
                    parse(pattern, escape_of(escape.flatten())?)?.matches(text),
                ))
            })
            .collect::<Result<Vec<_>, ExprError>>()?;
        Ok(Arc::new(BooleanArray::from(matched)))
    });
    Ok((kernel, true))
}
