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
        let path = options.required(PATH, "like s3://bucket/prefix or file:///directory")?;
        if let Some((scheme, rest)) = path.split_once("://")
            && !path.contains("${")
        {
            if !matches!(scheme, "s3" | "file") {
                return Err(options.wrong(
                    PATH,
                    format_args!("scheme '{scheme}' is not supported, only s3:// and file://"),
                ));
            }
            if scheme == "s3" && rest.trim_start_matches('/') != rest {
                return Err(options.wrong(PATH, "a bucket's name must follow s3://"));
            }
        }
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
            path: path.trim_end_matches('/').to_owned(),
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
