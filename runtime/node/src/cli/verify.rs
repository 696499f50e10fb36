//! `verify`: is a savepoint whole?

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum, ValueHint};
use serde_json::json;
use streamkeeper_storage::{
    Checked, ObjectStore, SavepointError, SavepointMetadata, StorageConfig, open_savepoint,
    verify_savepoint,
};

use super::fail;

/// Reads a savepoint as a restore would, and holds every object against its checksums. Nothing is
/// changed.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  streamjob-runtime verify s3://bucket/snapshots/flights/delays/nightly-12\n  streamjob-runtime verify s3://bucket/saved --format json | jq .whole\n\nThe URI is what `kubectl get streamsnapshot -o wide` shows. Memory stays small however large the savepoint is.\nExit codes: 0 it is whole, 1 it is not or cannot be read, 2 wrong command line."
)]
pub(super) struct VerifyArgs {
    /// Folder of the savepoint: s3://bucket/folder, or file:///directory.
    #[arg(value_hint = ValueHint::Url)]
    uri: String,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// URL of an S3-compatible server; AWS when absent. Credentials come from the environment.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: a line on standard output, what is wrong on standard error.
    Text,
    /// For programs: one object on standard output.
    Json,
}

/// What was found.
type Found = Result<(SavepointMetadata, Checked), SavepointError>;

pub(super) fn main(args: &VerifyArgs) -> ExitCode {
    let config = StorageConfig {
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        ..StorageConfig::default()
    };
    let (store, folder) = match streamkeeper_storage::open(&args.uri, &config) {
        Ok(opened) => opened,
        Err(error) => return fail(error),
    };
    let runtime = match super::one_thread() {
        Ok(runtime) => runtime,
        Err(message) => return fail(message),
    };
    let mut line = ProgressLine::new();
    let found = runtime.block_on(verify(store, &folder, &mut line));
    line.clear();
    match args.format {
        Format::Json => {
            let written = super::answer(format!("{}\n", json_of(&args.uri, &found)).as_bytes());
            match found {
                Ok(_) => written,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Format::Text => match found {
            Ok((metadata, checked)) => {
                super::answer(format!("{}\n", describe(&args.uri, &metadata, &checked)).as_bytes())
            }
            Err(error) => fail(remedy(&error)),
        },
    }
}

async fn verify(store: Arc<dyn ObjectStore>, folder: &str, line: &mut ProgressLine) -> Found {
    let (metadata, _, _) = open_savepoint(&*store, folder).await?;
    let checked = verify_savepoint(&*store, folder, &mut |checked| line.show(&checked)).await?;
    Ok((metadata, checked))
}

/// The error with what to do about it.
fn remedy(error: &SavepointError) -> String {
    match error {
        SavepointError::Storage(_) => error.to_string(),
        SavepointError::NotFound { .. } => {
            format!("{error}; give the folder that holds metadata.json")
        }
        SavepointError::Missing { .. } | SavepointError::Damaged { .. } => format!(
            "{error}; this savepoint cannot be restored: take another one while its job still runs"
        ),
    }
}

fn describe(uri: &str, metadata: &SavepointMetadata, checked: &Checked) -> String {
    format!(
        "{uri} is whole: checkpoint {} of revision {}, plan {}, {} key groups; {} objects, {} bytes, every checksum right",
        metadata.checkpoint,
        metadata.revision,
        metadata.plan_hash,
        metadata.max_parallelism,
        checked.objects,
        checked.bytes
    )
}

fn json_of(uri: &str, found: &Found) -> serde_json::Value {
    match found {
        Ok((metadata, checked)) => json!({
            "uri": uri, "whole": true, "checkpoint": metadata.checkpoint, "revision": metadata.revision,
            "jobUid": metadata.job_uid, "lineage": metadata.lineage, "completedMs": metadata.completed_ms,
            "planHash": metadata.plan_hash, "maxParallelism": metadata.max_parallelism,
            "objects": checked.objects, "bytes": checked.bytes,
        }),
        Err(error) => {
            let object = match error {
                SavepointError::Missing { at } | SavepointError::Damaged { at, .. } => Some(at),
                SavepointError::Storage(_) | SavepointError::NotFound { .. } => None,
            };
            // A store that does not answer says nothing about the savepoint.
            let whole = match error {
                SavepointError::Storage(_) => serde_json::Value::Null,
                _ => serde_json::Value::Bool(false),
            };
            json!({"uri": uri, "whole": whole, "object": object, "error": error.to_string()})
        }
    }
}

/// A line on a terminal that says how far it is.
struct ProgressLine {
    terminal: bool,
    written: usize,
}

impl ProgressLine {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            written: 0,
        }
    }

    fn show(&mut self, checked: &Checked) {
        if self.terminal {
            self.write(&format!(
                "checked {} of {} MiB, {} of {} objects",
                checked.bytes >> 20,
                checked.of_bytes.div_ceil(1 << 20),
                checked.objects,
                checked.of_objects
            ));
        }
    }

    fn clear(&mut self) {
        if self.written > 0 {
            self.write("");
            // A user who closed standard error sees nothing of it anyway.
            let _ = std::io::stderr().write_all(b"\r");
        }
    }

    /// Writes over what stands there.
    fn write(&mut self, text: &str) {
        let width = self.written.max(text.len());
        let _ = write!(std::io::stderr(), "\r{text:width$}");
        self.written = text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_savepoint_and_a_silent_store_are_told_apart() {
        let damaged = SavepointError::Damaged {
            at: "s3://b/s/data/0000-x".to_owned(),
            detail: "d".to_owned(),
        };
        let told = json_of("s3://b/s", &Err(damaged.clone()));
        assert_eq!(told["whole"], false);
        assert_eq!(told["object"], "s3://b/s/data/0000-x");
        assert!(remedy(&damaged).contains("take another one"));
        let silent = SavepointError::Storage(streamkeeper_storage::StorageError::Unavailable {
            action: "GetObject",
            at: "s3://b/s".to_owned(),
            detail: "503".to_owned(),
        });
        assert!(json_of("s3://b/s", &Err(silent))["whole"].is_null());
    }
}
