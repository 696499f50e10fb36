//! `check` and `run`: no Kubernetes, no S3.

use std::{
    path::Path,
    process::{Command, Output},
};

use rustix::process::Signal;

use crate::harness::{
    input::{self, Row},
    job::{HURRY, HURRY_VARIABLE},
    ledger::{self, Part, Tally},
    process::{Ended, Process, command},
    sql::{self, Places},
    wait::until,
};

/// Begins the names of what a folder that is written to holds beside its files: its lock, and what
/// a writer that was killed was at. No reader of the folder sees them.
const OWN: &str = ".streamkeeper-";

/// A job in a folder.
struct Folder {
    dir: tempfile::TempDir,
    rows: Vec<Row>,
}

impl Folder {
    fn new(rows: usize, rows_per_second: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rows = input::rows(7, rows);
        std::fs::create_dir(dir.path().join("in")).unwrap();
        for (name, content) in input::objects(&rows) {
            std::fs::write(dir.path().join("in").join(name), content).unwrap();
        }
        let uri = |below: &str| format!("file://{}/{below}", dir.path().display());
        let text = sql::job(&Places {
            input: &uri("in"),
            output: &uri("out"),
            rows_per_second,
        });
        std::fs::write(dir.path().join("job.sql"), text).unwrap();
        Self { dir, rows }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.dir.path().join(below)
    }

    fn run(&self) -> Command {
        let mut command = command();
        command.env_remove("RUST_LOG");
        command.env(HURRY_VARIABLE, self.path(HURRY));
        command.arg("run").arg(self.path("job.sql"));
        command.arg("--storage").arg(self.path("state"));
        command.args(["--parallelism", "2", "--checkpoint-interval", "250ms"]);
        command
    }

    /// Starts it; its log is `log`.
    fn start(&self) -> Process {
        Process::start(self.run(), &self.path("log"))
    }

    fn ledger(&self) -> Result<Tally, String> {
        let mut parts = Vec::new();
        for table in ["passed", "windows", "counts"] {
            for (name, content) in files(&self.path("out").join(table)) {
                parts.push(Part::read(table, &name, &content)?);
            }
        }
        ledger::check(&self.rows, &parts)
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| !name.starts_with(OWN))
        .collect()
}

fn code_and_errors(output: &Output) -> (Option<i32>, String) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), errors)
}

#[test]
fn sql_that_does_not_compile_ends_with_1_and_names_line_and_column() {
    let folder = Folder::new(1, 1);
    let file = folder.path("job.sql");
    let text = std::fs::read_to_string(&file).unwrap();
    let wrong = text.replace("SELECT id, k, v FROM", "SELECT id, k, nothing FROM");
    let (line, column) = position(&wrong, "nothing");
    std::fs::write(&file, &wrong).unwrap();
    for arguments in [["check"], ["run"]] {
        let output = command().args(arguments).arg(&file).output().unwrap();
        let (code, errors) = code_and_errors(&output);
        assert_eq!(code, Some(1), "{errors}");
        let place = format!("{}: line {line}:{column}: ", file.display());
        assert!(errors.contains(&place), "no {place} in {errors}");
        assert!(errors.contains("nothing"), "{errors}");
    }
    std::fs::write(&file, text).unwrap();
    let output = command().arg("check").arg(&file).output().unwrap();
    let (code, errors) = code_and_errors(&output);
    assert_eq!(code, Some(0), "{errors}");
}

/// Line and column of a word, from 1.
fn position(text: &str, word: &str) -> (usize, usize) {
    let (line, content) = text
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains(word))
        .unwrap();
    (line + 1, content.find(word).unwrap() + 1)
}

#[test]
fn a_small_job_runs_to_its_end_and_its_files_are_right() {
    let folder = Folder::new(900, 1_000_000);
    let output = folder.run().output().unwrap();
    let (code, errors) = code_and_errors(&output);
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("complete: 900 rows read"), "{errors}");
    folder.ledger().unwrap();
}

// A sink keeps 1 MiB at most, and what it is given is ten times that.
#[test]
fn without_an_interval_a_full_sink_gets_its_checkpoint_and_the_job_completes() {
    const ROWS: usize = 160_000;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = format!(
        "SET 'streamkeeper.sink.buffer-size' = '1 mb';
CREATE TABLE numbers (n BIGINT, pad STRING) WITH (
  'connector' = 'datagen', 'number-of-rows' = '{ROWS}', 'rows-per-second' = '10000000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}',
  'fields.pad.length' = '48');
CREATE TABLE kept (n BIGINT, pad STRING)
WITH ('connector' = 'filesystem', 'path' = 'file://{}', 'format' = 'json');
INSERT INTO kept SELECT n, pad FROM numbers;
",
        out.display()
    );
    let file = dir.path().join("job.sql");
    std::fs::write(&file, text).unwrap();
    let mut command = command();
    command.env_remove("RUST_LOG");
    command.arg("run").arg(&file);
    command.args(["--checkpoint-interval", "0"]);
    let output = command.output().unwrap();
    let (code, errors) = code_and_errors(&output);
    assert_eq!(code, Some(0), "{errors}");
    let parts = files(&out);
    let lines = parts
        .iter()
        .map(|(_, content)| String::from_utf8_lossy(content).lines().count());
    assert_eq!(lines.sum::<usize>(), ROWS);
    // The last checkpoint alone would make one file, and each holds little more than a sink may
    // keep.
    let largest = parts.iter().map(|(_, content)| content.len()).max();
    assert!(parts.len() > 4, "{} files", parts.len());
    assert!(largest.unwrap() < 2 << 20, "{largest:?}");
}

/// Runs until some output is there, ends it in the given way, runs it again.
async fn run_twice(signal: Signal, ended: Ended) {
    let folder = Folder::new(1_200, 100);
    let mut first = folder.start();
    until("the first run commits output", async || {
        if let Some(ended) = first.ended() {
            panic!("{ended:?}: {}", first.said());
        }
        let there = files(&folder.path("out").join("passed")).len();
        if there > 1 {
            Ok(())
        } else {
            Err(format!("{there} files: {}", first.said()))
        }
    })
    .await;
    first.signal(signal);
    let end = until("the first run ends", async || {
        first.ended().ok_or_else(|| first.said())
    })
    .await;
    assert_eq!(end, ended, "{}", first.said());
    let halfway = folder.ledger().unwrap_err();
    assert!(halfway.contains("found 0 times"), "{halfway}");

    std::fs::write(folder.path(HURRY), "").unwrap();
    let output = folder.run().output().unwrap();
    let (code, errors) = code_and_errors(&output);
    assert_eq!(code, Some(0), "{errors}");
    folder.ledger().unwrap();
}

#[tokio::test]
async fn a_run_that_was_interrupted_goes_on_where_it_was() {
    run_twice(Signal::INT, Ended::Code(0)).await;
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_from_its_last_checkpoint() {
    run_twice(Signal::KILL, Ended::Signal(9)).await;
}

#[test]
fn a_record_that_cannot_be_decoded_ends_with_1_and_names_object_and_line() {
    let folder = Folder::new(400, 1_000_000);
    let file = folder.path("in/0001.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let wrong: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            16 => r#"{"id":"many"}"#.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&file, wrong.join("\n")).unwrap();
    let output = folder.run().output().unwrap();
    let (code, errors) = code_and_errors(&output);
    assert_eq!(code, Some(1), "{errors}");
    let place = "/in/0001.json line 17";
    assert!(errors.contains(place), "no {place} in {errors}");
    assert!(errors.contains("'id'"), "{errors}");
}
