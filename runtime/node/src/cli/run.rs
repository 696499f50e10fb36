//! `run`: a job in one process, without Kubernetes.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use streamkeeper_protocol::job_api::{JobPhase, Report};
use streamkeeper_storage::{MemoryStore, ObjectStore};

use super::{
    args::{OptionalDuration, WriteArgs, optional_duration},
    check, fail,
    signals::EndSignals,
};
use crate::solo::{Solo, SoloJob};
use crate::telemetry::{self, LogFormat};
use streamkeeper_control::clock;
use streamkeeper_coordinator::{CoordinatorEnd, compile};
use streamkeeper_tables::stores::UriStores;

/// Runs the job of a SQL file in this process until its input ends or Ctrl-C, which takes a last
/// checkpoint first. Run it again with the same --storage and it goes on where it was: nothing is
/// read or written twice.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  streamjob-runtime run job.sql\n  streamjob-runtime run job.sql --storage /tmp/state --parallelism 2\n\nRows of the connector 'print' go to standard output, everything else to standard error.\nExit codes: 0 all input was read, or asked to end; 1 the job failed or does not compile; 2 wrong command line."
)]
pub(super) struct RunArgs {
    /// File with the SQL text; `-` reads standard input.
    file: PathBuf,
    /// Folder (or s3://bucket/prefix) for checkpoints. Without it they are kept in memory and gone
    /// with the process.
    #[arg(long)]
    storage: Option<String>,
    /// Name of the job, a folder below --storage; by default the name of the file.
    #[arg(long)]
    name: Option<String>,
    /// Subtasks, a thread each.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallelism: u32,
    /// From the start of a checkpoint to the start of the next; 0 takes only the last, and one
    /// whenever a sink has filled half of its buffer. Files appear with a checkpoint.
    #[arg(long, default_value = "10s", value_parser = optional_duration)]
    checkpoint_interval: OptionalDuration,
    /// Drop state of a former run that the SQL does not have any more; without it such state is an
    /// error.
    #[arg(long)]
    allow_dropped_state: bool,
    /// URL of an S3-compatible server; AWS when absent. Credentials come from the environment.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the buckets.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    #[command(flatten)]
    writes: WriteArgs,
    /// Show logs; RUST_LOG chooses which.
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn main(args: &RunArgs) -> ExitCode {
    let quiet = "off,streamkeeper::notice=warn";
    telemetry::init(LogFormat::Text, if args.verbose { "info" } else { quiet });
    let name = args.file.display().to_string();
    let text = match check::read(&args.file) {
        Ok(text) => text,
        Err(error) => return fail(format!("cannot read {name}: {error}")),
    };
    let compiled = match compile(&text) {
        Ok(compiled) => compiled,
        Err(error) => return check::refuse(&name, &error),
    };
    for warning in &compiled.warnings {
        eprintln!("{name}: {warning}");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format!("cannot start the runtime: {error}")),
    };
    let solo = match solo(args, compiled) {
        Ok(solo) => solo,
        Err(message) => return fail(message),
    };
    match runtime.block_on(run(solo, args.storage.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(message),
    }
}

fn solo(args: &RunArgs, compiled: streamkeeper_coordinator::CompiledJob) -> Result<Solo, String> {
    let (config, tables) = (args.writes).configs(args.endpoint.as_ref(), args.region.as_ref());
    let (store, prefix): (Arc<dyn ObjectStore>, String) = match &args.storage {
        None => (Arc::new(MemoryStore::new()), String::new()),
        Some(storage) => streamkeeper_storage::open(&storage_uri(storage)?, &config)
            .map_err(|error| format!("--storage: {error}"))?,
    };
    Ok(Solo {
        name: job_name(args.name.as_deref(), &args.file)?,
        compiled: Arc::new(compiled),
        slots: args.parallelism,
        max_parallelism: 128,
        checkpoint_interval: args.checkpoint_interval.0,
        may_drop_state: args.allow_dropped_state,
        store,
        prefix,
        tables: Arc::new(UriStores::new(tables)),
    })
}

/// A URI, or a folder as people write it.
fn storage_uri(storage: &str) -> Result<String, String> {
    if storage.contains("://") {
        return Ok(storage.to_owned());
    }
    let told = |error: std::io::Error| format!("--storage {storage}: {error}");
    std::fs::create_dir_all(storage).map_err(told)?;
    let path = std::fs::canonicalize(storage).map_err(told)?;
    Ok(format!("file://{}", path.display()))
}

/// The name given, or the file's, in letters that a folder may have.
fn job_name(given: Option<&str>, file: &Path) -> Result<String, String> {
    let stem = match given {
        Some(name) => name.to_owned(),
        None if file.as_os_str() == "-" => "stdin".to_owned(),
        None => file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if given.is_some() && !stem.chars().all(fits) {
        return Err(format!(
            "--name '{stem}': use letters, digits, '-', '_' and '.'"
        ));
    }
    let name: String = stem
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    match name.trim_matches('.') {
        "" => Err("give the job a --name".to_owned()),
        _ => Ok(name),
    }
}

async fn run(solo: Solo, storage: Option<&str>) -> Result<(), String> {
    let mut signals =
        EndSignals::new().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let began = clock::now();
    let mut job = solo.start().await?;
    let mut progress = Progress::new();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut asked = false;
    let end = loop {
        tokio::select! {
            end = job.ended() => break end,
            signal = signals.next() => {
                if std::mem::replace(&mut asked, true) {
                    break Err(format!("{signal} again: ended without a last checkpoint"));
                }
                progress.print("taking a last checkpoint (again to end at once)");
                job.terminate();
            }
            _ = tick.tick() => {
                let report = job.report();
                if let Some(message) = hopeless(&report) {
                    break Err(message);
                }
                progress.show(&report);
            }
        }
    };
    let report = job.report();
    progress.clear();
    let took = began.elapsed();
    let end = end.and_then(|end| conclude(end, &report));
    finish(job).await;
    let word = end?;
    let kept = match (storage, word) {
        (Some(storage), "ended") => format!("; run again with --storage {storage} to go on"),
        _ => String::new(),
    };
    eprintln!(
        "{word}: {} in {:.1} s{}{kept}",
        rows(&report),
        took.as_secs_f64(),
        misfits(streamkeeper_connectors::misfit_values())
    );
    Ok(())
}

async fn finish(job: SoloJob) {
    // Rows of `print` are on their way until the worker is gone.
    job.close().await;
}

fn conclude(end: CoordinatorEnd, report: &Report) -> Result<&'static str, String> {
    match end {
        CoordinatorEnd::Completed => Ok("complete"),
        CoordinatorEnd::Terminated | CoordinatorEnd::Stopped => match &report.last_checkpoint {
            Some(_) => Ok("ended"),
            None => Ok("ended before its first checkpoint"),
        },
        CoordinatorEnd::Fenced(why) => Err(format!("another process runs this job: {why}")),
        CoordinatorEnd::InvalidSql(message) => Err(message),
    }
}

/// Why waiting will not help, if so: only the person at the keyboard can change
/// something.
fn hopeless(report: &Report) -> Option<String> {
    let waits = matches!(
        report.phase,
        JobPhase::BackingOff | JobPhase::Standby | JobPhase::Failed
    );
    let error = report.error.as_ref().filter(|_| waits)?;
    Some(match error.reason.as_str() {
        "StorageUnreachable" => return None,
        "NotRunning" => format!(
            "{}: all input of this job was read by a former run; use another --storage or --name",
            error.message
        ),
        _ => error.message.clone(),
    })
}

fn rows(report: &Report) -> String {
    format!(
        "{} rows read, {} written",
        report.records_in, report.records_out
    )
}

/// What the last line says of values that were cut or are NULL because they do not fit.
fn misfits(values: u64) -> String {
    match values {
        0 => String::new(),
        1 => ", 1 value did not fit its column (a fraction was cut off, or it reads as NULL)"
            .to_owned(),
        many => format!(
            ", {many} values did not fit their columns (a fraction was cut off, or they read as NULL)"
        ),
    }
}

/// Characters of a line that is written over.
const LIVE_WIDTH: usize = 79;

/// One line that is written over and over, or one line every ten seconds where no terminal shows
/// it.
struct Progress {
    live: bool,
    next: tokio::time::Instant,
    shown: bool,
    /// The failure that was said last.
    said: Option<String>,
}

/// What keeps the job from going on, or kept a checkpoint from being complete: the newest of it.
fn last_failure(report: &Report) -> Option<&str> {
    let error = report.error.as_ref().map(|error| error.message.as_str());
    let checkpoint = report.checkpoint_failures.last.as_deref();
    let restart = report
        .last_failure
        .as_ref()
        .map(|failure| failure.message.as_str());
    error.or(checkpoint).or(restart)
}

/// Where the job stands, with its last failure.
fn line(report: &Report) -> String {
    let checkpoint = match &report.last_checkpoint {
        Some(last) => format!("checkpoint {}", last.id),
        None => "no checkpoint yet".to_owned(),
    };
    let failure = last_failure(report)
        .map_or_else(String::new, |failure| format!("; last failure: {failure}"));
    format!(
        "{:?}: {}, {checkpoint}{failure}",
        report.phase,
        rows(report)
    )
}

impl Progress {
    fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        let pause = if live { 500 } else { 10_000 };
        Self {
            live,
            next: clock::now() + Duration::from_millis(pause),
            shown: false,
            said: None,
        }
    }

    fn show(&mut self, report: &Report) {
        if clock::now() < self.next {
            return;
        }
        let mut line = line(report);
        if self.live {
            // A line that is written over must fit; the whole failure gets lines of its own.
            let failure = last_failure(report).map(str::to_owned);
            if failure.is_some() && failure != self.said {
                self.print(&format!(
                    "last failure: {}",
                    failure.as_deref().unwrap_or_default()
                ));
                self.said = failure;
            }
            line = line.chars().take(LIVE_WIDTH).collect();
        }
        let mut out = std::io::stderr().lock();
        if self.live {
            let _ = write!(out, "\r\x1b[2K{line}");
            self.next = clock::now() + Duration::from_millis(200);
            self.shown = true;
        } else {
            let _ = writeln!(out, "{line}");
            self.next = clock::now() + Duration::from_secs(10);
        }
        let _ = out.flush();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[2K");
        }
    }

    fn print(&mut self, message: &str) {
        self.clear();
        eprintln!("{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let job = streamkeeper_coordinator::JobIdentity {
            namespace: "here".to_owned(),
            name: "job".to_owned(),
            uid: "uid".to_owned(),
            revision: 1,
            pod: String::new(),
        };
        streamkeeper_coordinator::PublishedStatus::new(&job, 1, 1).report()
    }

    #[test]
    fn the_last_failure_stands_on_the_progress_line() {
        let mut report = report();
        assert!(!line(&report).contains("failure"));
        report.checkpoint_failures.last = Some("checkpoint 2: timed out".to_owned());
        assert!(line(&report).ends_with("; last failure: checkpoint 2: timed out"));
        let message = "reading HEAD: invalid peer certificate: UnknownIssuer".to_owned();
        report.error = Some(streamkeeper_protocol::job_api::JobError {
            reason: "StorageUnreachable".to_owned(),
            message: message.clone(),
        });
        assert!(line(&report).ends_with(&message));
        assert_eq!(hopeless(&report), None);
    }

    #[test]
    fn the_last_line_counts_values_that_did_not_fit() {
        assert_eq!(misfits(0), "");
        assert!(misfits(1).starts_with(", 1 value did not fit its column"));
        assert!(misfits(2).starts_with(", 2 values did not fit their columns"));
    }

    #[test]
    fn a_job_is_named_after_its_file() {
        let name = |given, file: &str| job_name(given, Path::new(file));
        assert_eq!(name(None, "a/my job.sql"), Ok("my-job".to_owned()));
        assert_eq!(name(None, "-"), Ok("stdin".to_owned()));
        assert_eq!(name(Some("x.1"), "a.sql"), Ok("x.1".to_owned()));
        assert!(name(Some("../x"), "a.sql").is_err());
        assert!(name(Some(".."), "a.sql").is_err());
    }
}
