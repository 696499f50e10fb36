//! A job: its input on S3, its pods, its HEAD.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;
use streamkeeper_protocol::{
    head::{Head, OperationResult, RunState},
    job_api::{
        JobPhase, Operation, Preflight, PreflightVerdict, PromoteFrom, PromoteRequest, Report,
    },
    paths::StatePaths,
};
use streamkeeper_storage::{read_head, read_manifest};

use super::{
    api,
    input::{self, Row},
    ledger::{self, Part, Tally},
    port::Port,
    process::{Ended, Process, command},
    s3::Bucket,
    sql::{self, Places},
    wait::{PATIENCE, until, within},
};

/// Tables of the job.
const TABLES: [&str; 3] = ["passed", "windows", "counts"];
/// Lines of each log that a failed test shows.
const LAST_LINES: usize = 70;

/// A pod: revision, ordinal, and how often a pod of this name was made anew elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    pub(crate) revision: u64,
    pub(crate) ordinal: u32,
    pub(crate) copy: u32,
}

/// The pod with this ordinal.
pub(crate) fn pod(revision: u64, ordinal: u32) -> PodName {
    PodName {
        revision,
        ordinal,
        copy: 0,
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-r{}-{}", self.revision, self.ordinal)?;
        match self.copy {
            0 => Ok(()),
            copy => write!(f, " (copy {copy})"),
        }
    }
}

struct Pod {
    api: Port,
    control: Port,
    data: Port,
    process: Option<Process>,
    log: PathBuf,
}

struct Revision {
    workers: u32,
    sql: PathBuf,
    /// Where workers look for their coordinator.
    coordinator: String,
}

/// How a job runs; the defaults give a fault some seconds to strike.
pub(crate) struct Settings {
    pub(crate) rows: usize,
    pub(crate) rows_per_second: u64,
    pub(crate) checkpoint_interval: &'static str,
    pub(crate) slots: u32,
    /// S3 as pods see it, when it is not the server itself.
    pub(crate) endpoint: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rows: 1_800,
            rows_per_second: 450,
            checkpoint_interval: "400ms",
            slots: 1,
            endpoint: None,
        }
    }
}

/// A job under test. When a test fails it shows all there is to see.
pub(crate) struct Job {
    pub(crate) bucket: Bucket,
    paths: StatePaths,
    settings: Settings,
    rows: Vec<Row>,
    folder: tempfile::TempDir,
    revisions: BTreeMap<u64, Revision>,
    pods: BTreeMap<PodName, Pod>,
}

impl Job {
    /// Puts the input of a job in place; nothing runs yet.
    pub(crate) async fn new(bucket: Bucket, settings: Settings) -> Self {
        let rows = input::rows(42, settings.rows);
        for (name, content) in input::objects(&rows) {
            bucket.put(&format!("in/{name}"), content).await;
        }
        Self {
            paths: StatePaths::new(&format!("{}/state", bucket.prefix), "test", "job"),
            bucket,
            settings,
            rows,
            folder: tempfile::tempdir().unwrap(),
            revisions: BTreeMap::new(),
            pods: BTreeMap::new(),
        }
    }

    /// A job whose first revision runs on `workers` pods and was promoted.
    pub(crate) async fn running(test: &str, settings: Settings, workers: u32) -> Self {
        let mut job = Self::new(Bucket::new(test), settings).await;
        job.revise(1, workers, sql::job);
        job.start_all(1);
        job.promote(1, PromoteFrom::Empty).await;
        job
    }

    /// Renders a revision and gives it pods, which are not started.
    pub(crate) fn revise(&mut self, number: u64, workers: u32, sql: fn(&Places<'_>) -> String) {
        let text = sql(&Places {
            input: &self.bucket.uri("in/"),
            output: &self.bucket.uri("out"),
            rows_per_second: self.settings.rows_per_second,
        });
        let file = self.folder.path().join(format!("job-r{number}.sql"));
        std::fs::write(&file, text).unwrap();
        let coordinator = self.pod(pod(number, 0)).control.address();
        let revision = Revision {
            workers,
            sql: file,
            coordinator,
        };
        self.revisions.insert(number, revision);
    }

    /// Workers that start from now on look for their coordinator at another address.
    pub(crate) fn route(&mut self, revision: u64, address: &str) {
        self.revisions.get_mut(&revision).unwrap().coordinator = address.to_owned();
    }

    fn pod(&mut self, name: PodName) -> &mut Pod {
        let log = self.folder.path().join(format!("{name}.log"));
        self.pods.entry(name).or_insert_with(|| Pod {
            api: Port::new(),
            control: Port::new(),
            data: Port::new(),
            process: None,
            log,
        })
    }

    fn process(&mut self, name: PodName) -> &mut Process {
        let process = self.pod(name).process.as_mut();
        process.unwrap_or_else(|| panic!("{name} was not started"))
    }

    /// Control address of a pod's coordinator.
    pub(crate) fn control_of(&mut self, name: PodName) -> String {
        self.pod(name).control.address()
    }

    /// Job API of a pod.
    pub(crate) fn api_of(&self, name: PodName) -> String {
        self.pods[&name].api.address()
    }

    /// Starts every pod that a revision was rendered with.
    pub(crate) fn start_all(&mut self, revision: u64) {
        for ordinal in 0..self.revisions[&revision].workers {
            self.start(pod(revision, ordinal), &[]);
        }
    }

    /// Starts a pod's process, or starts it again at the same address.
    pub(crate) fn start(&mut self, name: PodName, environment: &[(&str, &str)]) {
        self.pod(name);
        let revision = &self.revisions[&name.revision];
        let pod = &self.pods[&name];
        let endpoint = self.settings.endpoint.as_ref();
        let coordinator = match name.ordinal {
            0 => pod.control.address(),
            _ => revision.coordinator.clone(),
        };
        let mut command = command();
        command.arg("node");
        let mut flag = |flag: &str, value: &str| {
            command.arg(format!("--{flag}={value}"));
        };
        flag("job-namespace", "test");
        flag("job-name", "job");
        flag("job-uid", "uid");
        flag("revision", &name.revision.to_string());
        flag("ordinal", &name.ordinal.to_string());
        flag("workers", &revision.workers.to_string());
        flag("slots", &self.settings.slots.to_string());
        flag("storage-uri", &self.bucket.uri("state"));
        flag("endpoint", endpoint.unwrap_or(&self.bucket.endpoint));
        flag("sql-file", revision.sql.to_str().unwrap());
        flag("checkpoint-interval", self.settings.checkpoint_interval);
        flag("coordinator", &coordinator);
        flag("listen-api", &pod.api.address());
        flag("listen-control", &pod.control.address());
        flag("listen-data", &pod.data.address());
        flag("advertise-address", "127.0.0.1");
        flag("restart-initial", "200ms");
        flag("log-format", "text");
        for (variable, value) in environment {
            command.env(variable, value);
        }
        let log = pod.log.clone();
        self.pod(name).process = Some(Process::start(command, &log));
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, name: PodName) {
        self.process(name).kill();
    }

    pub(crate) fn signal(&mut self, name: PodName, signal: rustix::process::Signal) {
        self.process(name).signal(signal);
    }

    /// How a pod's process ended, if it did.
    pub(crate) fn ended(&mut self, name: PodName) -> Option<Ended> {
        self.process(name).ended()
    }

    /// Waits for the end of a pod's process.
    pub(crate) async fn end_of(&mut self, name: PodName) -> Ended {
        until(&format!("{name} ends"), async || {
            self.ended(name).ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// What a coordinator reports.
    pub(crate) async fn report(&self, name: PodName) -> Result<Report, String> {
        api::get(&self.api_of(name), "/v1/report").await
    }

    /// Waits for a report that says what `look` wants to see; its answer.
    pub(crate) async fn reported<T>(
        &self,
        name: PodName,
        what: &str,
        mut look: impl FnMut(&Report) -> Option<T>,
    ) -> T {
        until(&format!("{name} reports {what}"), async || {
            let report = self.report(name).await?;
            look(&report).ok_or_else(|| format!("{report:?}"))
        })
        .await
    }

    /// Waits until records flow and some checkpoints of this attempt are complete.
    pub(crate) async fn flows(&self, name: PodName, checkpoints: u64) -> Report {
        let what = format!("records and {checkpoints} checkpoints");
        self.reported(name, &what, |report| {
            let flows = report.phase == JobPhase::Running && report.records_in_attempt > 0;
            (flows && report.checkpoints_in_attempt >= checkpoints).then(|| report.clone())
        })
        .await
    }

    /// Waits until a revision that stands by says that it could take over.
    pub(crate) async fn compatible(&self, name: PodName) {
        until(&format!("{name} is fit to take over"), async || {
            let preflight: Preflight = api::get(&self.api_of(name), "/v1/preflight").await?;
            match preflight.verdict {
                PreflightVerdict::Compatible => Ok(()),
                _ => Err(format!("{preflight:?}")),
            }
        })
        .await;
    }

    /// Asks for something; the operation as it was accepted.
    pub(crate) async fn ask(
        &self,
        name: PodName,
        call: &str,
        request: &impl Serialize,
    ) -> Result<Operation, String> {
        api::post(&self.api_of(name), &format!("/v1/{call}"), request).await
    }

    /// Asks, and waits for the result.
    pub(crate) async fn carry_out(
        &self,
        name: PodName,
        call: &str,
        request: &impl Serialize,
    ) -> OperationResult {
        let asked = self.ask(name, call, request).await;
        let key = asked.unwrap_or_else(|refused| panic!("{refused}")).key;
        until(&format!("{call} '{key}' has a result"), async || {
            let path = format!("/v1/operations/{key}");
            let operation: Operation = api::get(&self.api_of(name), &path).await?;
            match operation.result {
                OperationResult::Running => Err("it runs".to_owned()),
                result => Ok(result),
            }
        })
        .await
    }

    /// Promotes a revision, as soon as its coordinator answers.
    pub(crate) async fn promote(&self, revision: u64, from: PromoteFrom) {
        let name = pod(revision, 0);
        let request = PromoteRequest {
            key: format!("promote-{revision}-{}", ulid::Ulid::generate()),
            revision,
            from,
            workers: None,
        };
        until(&format!("{name} is promoted"), async || {
            self.ask(name, "promote", &request).await
        })
        .await;
    }

    /// HEAD as it is stored; none when it is not.
    pub(crate) async fn head(&self) -> Result<Option<Head>, String> {
        let read = read_head(&*self.bucket.store, &self.paths).await;
        let read = read.map_err(|error| error.to_string())?;
        Ok(read.map(|(head, _)| head))
    }

    /// Waits until HEAD says what `look` wants to see; its answer.
    pub(crate) async fn head_says<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Head) -> Option<T>,
    ) -> T {
        until(&format!("HEAD says {what}"), async || {
            let head = self.head().await?.ok_or("there is no HEAD")?;
            look(&head).ok_or_else(|| brief(&head))
        })
        .await
    }

    /// Waits until HEAD says that all input was read and committed.
    pub(crate) async fn completed(&self, limit: Duration) -> Result<Head, String> {
        within(limit, "HEAD says Completed", async || {
            let head = self.head().await?.ok_or("there is no HEAD")?;
            match head.state {
                RunState::Completed => Ok(head),
                _ => Err(brief(&head)),
            }
        })
        .await
    }

    /// Waits for the end of the job and holds its output against its input.
    pub(crate) async fn ends_exactly(&self) -> Tally {
        let head = self.completed(PATIENCE).await;
        let head = head.unwrap_or_else(|seen| panic!("{seen}"));
        let tally = self.ledger(&head).await;
        let tally = tally.unwrap_or_else(|differences| panic!("{differences}"));
        let (expected_some, rows) = (tally.passed > 0 && tally.windows > 0, self.rows.len());
        assert!(expected_some, "{tally:?} of {rows} rows");
        tally
    }

    /// Every object that is visible is a commit's, and together they hold what the input says.
    pub(crate) async fn ledger(&self, head: &Head) -> Result<Tally, String> {
        let last = head.last.as_ref().map_or(0, |last| last.checkpoint);
        let mut parts = Vec::new();
        for (name, content) in self.bucket.read_all("out").await {
            let table = TABLES
                .iter()
                .find_map(|table| Some((*table, name.strip_prefix(&format!("{table}/"))?)));
            let (table, file) = table.ok_or_else(|| format!("a stray object: out/{name}"))?;
            let part = Part::read(table, file, &content)?;
            if part.checkpoint > last {
                return Err(format!(
                    "out/{name} was committed before its checkpoint: the restore point is {last}"
                ));
            }
            if !head.lineage.ends_with(&part.lineage) {
                return Err(format!(
                    "out/{name} is of another job than {}",
                    head.lineage
                ));
            }
            parts.push(part);
        }
        let uploads = self.bucket.open_uploads().await;
        if !uploads.is_empty() {
            return Err(format!("uploads were begun and not ended: {uploads:?}"));
        }
        self.restorable(head).await?;
        ledger::check(&self.rows, &parts)
    }

    /// The restore point is whole, and remembers how much was read.
    async fn restorable(&self, head: &Head) -> Result<(), String> {
        let last = head.last.as_ref().ok_or("there is no restore point")?;
        let manifest = read_manifest(&*self.bucket.store, &last.manifest).await;
        let manifest = manifest.map_err(|error| error.to_string())?;
        for key in manifest.objects() {
            let read = self.bucket.store.get(key).await;
            read.map_err(|error| format!("the restore point lost {key}: {error}"))?;
        }
        if manifest.records_in != self.rows.len() as u64 {
            return Err(format!(
                "{} records were read of {}",
                manifest.records_in,
                self.rows.len()
            ));
        }
        Ok(())
    }

    /// All there is to see.
    async fn describe(&self) -> String {
        let mut text = String::new();
        for (name, pod) in &self.pods {
            let Some(process) = &pod.process else {
                continue;
            };
            let said = process.said();
            let lines: Vec<&str> = said.lines().collect();
            let from = lines.len().saturating_sub(LAST_LINES);
            let _ = writeln!(text, "--- {name}, last of {} lines", lines.len());
            for line in &lines[from..] {
                let _ = writeln!(text, "{line}");
            }
            if name.ordinal == 0 {
                let address = pod.api.address();
                let report = api::get::<serde_json::Value>(&address, "/v1/report");
                let report = tokio::time::timeout(Duration::from_secs(2), report).await;
                let _ = match report {
                    Ok(Ok(report)) => writeln!(text, "--- report of {name}: {report}"),
                    Ok(Err(error)) => writeln!(text, "--- no report of {name}: {error}"),
                    Err(_) => writeln!(text, "--- no report of {name} within 2 s"),
                };
            }
        }
        let head = self.head().await;
        let _ = match head {
            Ok(Some(head)) => writeln!(text, "--- HEAD: {}", serde_json::json!(head)),
            other => writeln!(text, "--- no HEAD: {other:?}"),
        };
        let out = format!("{}/out/", self.bucket.prefix);
        let listed = self.bucket.store.list(&out).await.unwrap_or_default();
        for object in listed {
            let _ = writeln!(text, "--- {} bytes in {}", object.size, object.key);
        }
        text
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let this = &*self;
        // The test's own runtime is busy with us.
        let described = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok::<_, std::io::Error>(runtime.block_on(this.describe()))
            });
            thread.join()
        });
        match described {
            Ok(Ok(text)) => println!("{text}"),
            other => println!("--- nothing can be told: {other:?}"),
        }
    }
}

fn brief(head: &Head) -> String {
    format!(
        "{:?}, revision {}, attempt {}, write {}, restore point {:?}",
        head.state,
        head.revision,
        head.attempt,
        head.seq,
        head.last.as_ref().map(|last| last.checkpoint)
    )
}
