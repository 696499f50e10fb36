//! The table's options.

use std::time::Duration;

use regex::Regex;

use crate::{
    ConnectorError, TableTraits, TableUse,
    format::{FORMAT, Format},
    options::Options,
};

const PATH: &str = "path";
const MONITOR: &str = "source.monitor-interval";
const PATTERN: &str = "source.path.regex-pattern";

/// Options of a table about its files.
#[derive(Debug, Clone)]
pub(super) struct FileOptions {
    /// URI of an object or of everything below it, without a slash at the end.
    pub(super) path: String,
    pub(super) format: Format,
    /// How often to look for new objects; none reads what is there once.
    pub(super) monitor: Option<Duration>,
    /// What an object's absolute path must match as a whole.
    pub(super) pattern: Option<Regex>,
}

/// Checks the options of a table.
pub(crate) fn check(
    options: Options<'_>,
    table_use: TableUse,
) -> Result<TableTraits, ConnectorError> {
    let parsed = FileOptions::parse(options, table_use)?;
    Ok(TableTraits {
        accepts: parsed.format.accepts(),
        bounded: parsed.monitor.is_none(),
    })
}

impl FileOptions {
    pub(super) fn parse(options: Options<'_>, table_use: TableUse) -> Result<Self, ConnectorError> {
        refuse_foreign(options)?;
        if table_use == TableUse::Source {
            refuse_wildcards(options)?;
        }
        let path = normal_path(options)?;
        let format = Format::parse(options, table_use)?;
        let mut known = vec![PATH, FORMAT, MONITOR, PATTERN];
        known.extend(format.option_names());
        options.refuse_unknown(&known, |_| false)?;
        let monitor = options.duration_ms(MONITOR)?;
        if monitor == Some(0) {
            return Err(options.wrong(MONITOR, "must be longer than 0"));
        }
        // A variable for the interval still means that the table is watched.
        let monitor = monitor.or(options.has(MONITOR).then_some(1_000));
        let pattern = options.parsed::<String>(PATTERN, "text")?;
        let pattern = pattern
            .map(|pattern| Regex::new(&format!("^(?:{pattern})$")))
            .transpose();
        Ok(Self {
            path,
            format,
            monitor: monitor.map(Duration::from_millis),
            pattern: pattern.map_err(|error| {
                options.wrong(
                    PATTERN,
                    format_args!("not a regular expression (without look-around): {error}"),
                )
            })?,
        })
    }

    /// The path part of the URI: `/prefix` of `s3://bucket/prefix`.
    pub(super) fn absolute_path(&self) -> &str {
        match self.path.split_once("://") {
            None => &self.path,
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        }
    }
}

/// The path as `s3://bucket/prefix` or `file:///directory`. Flink's other forms are accepted:
/// `s3a://`, `s3p://`, `file:/directory`, `/directory`.
fn normal_path(options: Options<'_>) -> Result<String, ConnectorError> {
    let path = options
        .required(PATH, "like s3://bucket/prefix or file:///directory")?
        .trim();
    let (scheme, rest) = match path.split_once(':') {
        _ if path.starts_with('/') => ("file", path),
        // A variable may stand for all of it.
        _ if path.starts_with("${") => return Ok(path.to_owned()),
        Some((scheme, rest)) => (scheme, rest.strip_prefix("//").unwrap_or(rest)),
        None => ("", path),
    };
    let rest = rest.trim_end_matches('/');
    match scheme {
        "s3" | "s3a" | "s3p" if rest.is_empty() || rest.starts_with('/') => {
            Err(options.wrong(PATH, "a bucket's name must follow s3://"))
        }
        "s3" | "s3a" | "s3p" => Ok(format!("s3://{rest}")),
        "file" if rest.starts_with('/') || rest.starts_with("${") => Ok(format!("file://{rest}")),
        "file" => Err(options.wrong(PATH, "must be absolute, like file:///directory")),
        _ => Err(options.wrong(
            PATH,
            format_args!("'{path}' is neither like s3://bucket/prefix nor like file:///directory"),
        )),
    }
}

/// A path is an object or what is below it. `*` and `?` would be part of its name, as in Flink, but
/// a user who writes them means a pattern.
fn refuse_wildcards(options: Options<'_>) -> Result<(), ConnectorError> {
    let path = options.text(PATH).unwrap_or_default().trim();
    let Some(wildcard) = path.find(['*', '?']) else {
        return Ok(());
    };
    let folder = path[..wildcard].rfind('/').map_or(0, |slash| slash + 1);
    let (folder, pattern) = (&path[..folder], glob_to_regex(path));
    let advice = if options.has(PATTERN) {
        format!("leave it out of the path, and write it into '{PATTERN}'")
    } else {
        format!("write '{PATH}' = '{folder}', '{PATTERN}' = '{pattern}'")
    };
    let sign = &path[wildcard..=wildcard];
    Err(options.wrong(
        PATH,
        format_args!("'{sign}' is not a wildcard here; {advice}"),
    ))
}

/// A regular expression with the meaning of a glob, for the absolute path.
fn glob_to_regex(path: &str) -> String {
    let path = match path.split_once("://") {
        Some(("file", rest)) => rest,
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => path.strip_prefix("file:").unwrap_or(path),
    };
    let mut regex = String::new();
    let mut rest = path.chars().peekable();
    while let Some(sign) = rest.next() {
        match sign {
            '*' if rest.next_if_eq(&'*').is_some() => regex.push_str(".*"),
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            // The name of a variable is no pattern.
            '$' if rest.peek() == Some(&'{') => {
                regex.push('$');
                regex.extend(rest.by_ref().take_while(|sign| *sign != '}'));
                regex.push('}');
            }
            sign => regex.push_str(&regex::escape(sign.encode_utf8(&mut [0; 4]))),
        }
    }
    regex
}

/// Options of Flink's connector that Streamkeeper does not support, each with the reason.
fn refuse_foreign(options: Options<'_>) -> Result<(), ConnectorError> {
    options.refuse_sink_parallelism()?;
    let reasons: [(&[&str], &str); 4] = [
        (
            &["sink.rolling-policy."],
            "is not supported: each subtask writes one file per checkpoint that has rows, so the \
             checkpoint interval decides the size of files; remove it",
        ),
        (
            &[
                "partition.",
                "sink.partition-commit.",
                "sink.shuffle-by-partition.",
            ],
            "is not supported: tables are not partitioned; remove it",
        ),
        (
            &["auto-compaction", "compaction."],
            "is not supported: files are never merged or rewritten; remove it",
        ),
        (
            &["source.report-statistics"],
            "is not supported: no plan depends on statistics; remove it",
        ),
    ];
    for option in options.table().options.keys() {
        for (prefixes, why) in reasons {
            if prefixes.iter().any(|prefix| option.starts_with(prefix)) {
                return Err(options.wrong(option, why));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use streamkeeper_protocol::types::DataType;

    use super::*;
    use crate::testing::table;

    fn parse(options: &[(&str, &str)]) -> Result<FileOptions, ConnectorError> {
        let mut all = vec![("format", "json")];
        all.extend(options);
        let table = table("filesystem", &[("id", DataType::Int)], &all);
        FileOptions::parse(Options::new(&table), TableUse::Source)
    }

    #[test]
    fn a_wildcard_in_a_path_is_an_error_that_names_options_that_work() {
        for (path, reads, leaves) in [
            (
                "s3://b/in/*.json",
                &["/in/a.json"][..],
                &["/in/a.csv", "/in/x/a.json"][..],
            ),
            (
                "s3a://b/in/2024-*/part-?.json",
                &["/in/2024-01/part-1.json"][..],
                &["/in/2024-01/part-12.json"][..],
            ),
            (
                "/data/**/a.json",
                &["/data/x/y/a.json"][..],
                &["/data/x/y/b.json"][..],
            ),
            ("file:///data/a*", &["/data/abc"][..], &["/data/b"][..]),
            ("file:/data/a+b*", &["/data/a+b"][..], &["/data/aab"][..]),
        ] {
            let error = parse(&[("path", path)]).unwrap_err().to_string();
            let advice = error.split_once("write 'path' = '").unwrap().1;
            let (folder, rest) = advice.split_once("', '").unwrap();
            let (option, pattern) = rest.split_once("' = '").unwrap();
            let pattern = pattern.strip_suffix('\'').unwrap();
            let options = parse(&[("path", folder), (option, pattern)]).unwrap();
            let pattern = options.pattern.unwrap();
            assert!(reads.iter().all(|key| pattern.is_match(key)), "{error}");
            assert!(!leaves.iter().any(|key| pattern.is_match(key)), "{error}");
            assert!(
                reads
                    .iter()
                    .all(|key| key.starts_with(FileOptions::absolute_path(
                        &parse(&[("path", folder)]).unwrap()
                    ))),
                "{error}"
            );
        }
    }

    #[test]
    fn variables_stay_variables_in_the_pattern() {
        let error = parse(&[("path", "${IN}/x.y/*.json")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("'path' = '${IN}/x.y/'"), "{error}");
        assert!(error.contains(r"= '${IN}/x\.y/[^/]*\.json'"), "{error}");
        let error = parse(&[("path", "/in/*"), (PATTERN, "a")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("leave it out of the path"), "{error}");
    }
}
