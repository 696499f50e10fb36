//! The table's options.

use std::time::Duration;

use regex::Regex;

use crate::{
    ConnectorError, TableUse,
    format::{FORMAT, Format},
    options::Options,
};

const PATH: &str = "path";
const MONITOR: &str = "source.monitor-interval";
const PATTERN: &str = "source.path.regex-pattern";

/// What a table says about its files.
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

impl FileOptions {
    pub(super) fn parse(options: Options<'_>, table_use: TableUse) -> Result<Self, ConnectorError> {
        refuse_foreign(options)?;
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

/// The path as `s3://bucket/prefix` or `file:///directory`. Flink's other ways to write them count:
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

/// Options of Flink's connector that mean nothing here, each with the reason.
fn refuse_foreign(options: Options<'_>) -> Result<(), ConnectorError> {
    crate::refuse_sink_parallelism(options)?;
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
