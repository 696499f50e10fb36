//! A job: its input on S3, and its pods.

use std::{collections::BTreeMap, path::PathBuf};

use streamkeeper_protocol::{job_api::PromoteFrom, paths::StatePaths};
use streamkeeper_security::OperatorIdentity;

use super::{
    api::Caller,
    input::{self, Row},
    keys::Keys,
    pods::{Pod, PodName, pod},
    port::Port,
    process::{Ended, Process, command},
    s3::Bucket,
    sql::{self, Places},
    wait::until,
};

/// Names the file at which the sources of a job stop to care about their rate.
pub(crate) const HURRY_VARIABLE: &str = "STREAMKEEPER_HURRY_FILE";
/// That file.
pub(crate) const HURRY: &str = "hurry";
/// Folder of the Secret.
const KEYS: &str = "keys";

struct Revision {
    workers: u32,
    sql: PathBuf,
    /// Where workers look for their coordinator.
    coordinator: String,
}

/// How a job runs; by the defaults its input lasts for twelve seconds, or until the test waits for
/// its end.
pub(crate) struct Settings {
    /// Name and uid of its StreamJob.
    pub(crate) name: &'static str,
    /// Folder of its tables.
    pub(crate) output: &'static str,
    pub(crate) rows: usize,
    pub(crate) rows_per_second: u64,
    pub(crate) checkpoint_interval: &'static str,
    pub(crate) slots: u32,
    /// S3 as pods see it, when it is not the server itself.
    pub(crate) endpoint: Option<String>,
    /// Keys of its pods, for TLS if nothing else is said.
    pub(crate) keys: Option<Keys>,
    /// Whether the token alone is shown, without TLS.
    pub(crate) plaintext: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "job",
            output: "out",
            rows: 1_800,
            rows_per_second: 150,
            checkpoint_interval: "400ms",
            slots: 1,
            endpoint: None,
            keys: None,
            plaintext: false,
        }
    }
}

/// A job under test. When a test fails it shows all there is to see.
pub(crate) struct Job {
    pub(crate) bucket: Bucket,
    pub(crate) paths: StatePaths,
    pub(super) settings: Settings,
    pub(crate) rows: Vec<Row>,
    folder: tempfile::TempDir,
    revisions: BTreeMap<u64, Revision>,
    pub(super) pods: BTreeMap<PodName, Pod>,
    operator: Option<OperatorIdentity>,
}

impl Job {
    /// Puts the input of a job in place; nothing runs yet.
    pub(crate) async fn new(bucket: Bucket, settings: Settings) -> Self {
        let rows = input::rows(42, settings.rows);
        for (name, content) in input::objects(&rows) {
            bucket.put(&format!("in/{name}"), content).await;
        }
        Self::over(bucket, rows, settings)
    }

    /// Another job with the same input.
    pub(crate) fn beside(&self, settings: Settings) -> Self {
        Self::over(self.bucket.clone(), self.rows.clone(), settings)
    }

    fn over(bucket: Bucket, rows: Vec<Row>, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(keys) = &settings.keys {
            keys.mount(&folder.path().join(KEYS));
        }
        Self {
            operator: settings.keys.as_ref().map(Keys::operator),
            paths: StatePaths::new(&format!("{}/state", bucket.prefix), "test", settings.name),
            bucket,
            settings,
            rows,
            folder,
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
            output: &self.bucket.uri(self.settings.output),
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
        let revision = self.revisions.get_mut(&revision).unwrap();
        address.clone_into(&mut revision.coordinator);
    }

    fn pod(&mut self, name: PodName) -> &mut Pod {
        let log = self.folder.path().join(format!("{name}.log"));
        self.pods.entry(name).or_insert_with(|| Pod {
            api: Port::new(),
            control: Port::new(),
            data: Port::new(),
            health: Port::new(),
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

    /// Records port of a pod.
    pub(crate) fn data_of(&self, name: PodName) -> String {
        self.pods[&name].data.address()
    }

    /// Health and metrics of a pod, where it has a port for them.
    pub(crate) fn health_of(&self, name: PodName) -> String {
        self.pods[&name].health.address()
    }

    /// The operator.
    pub(crate) fn caller(&self) -> Caller {
        let caller = self
            .operator
            .as_ref()
            .map_or_else(Caller::default, Caller::operator);
        if self.settings.plaintext {
            Caller {
                tls: None,
                ..caller
            }
        } else {
            caller
        }
    }

    /// Where the Secret of a job with TLS is mounted.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join(KEYS)
    }

    /// Everything that a pod said.
    pub(crate) fn said(&mut self, name: PodName) -> String {
        self.process(name).said()
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
        flag("job-name", self.settings.name);
        flag("job-uid", self.settings.name);
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
        if let Some(keys) = &self.settings.keys {
            let folder = if self.settings.plaintext {
                "token-folder"
            } else {
                "tls-folder"
            };
            flag(folder, self.keys().to_str().unwrap());
            flag("tls-rotation", &format!("{}s", keys.rotation.as_secs()));
            flag("listen-health", &pod.health.address());
        }
        command.env(HURRY_VARIABLE, self.folder.path().join(HURRY));
        for (variable, value) in environment {
            command.env(variable, value);
        }
        let log = pod.log.clone();
        self.pod(name).process = Some(Process::start(command, &log));
    }

    /// Nothing more will be done to the job: it need not read slowly any more.
    pub(crate) fn hurry(&self) {
        std::fs::write(self.folder.path().join(HURRY), "").unwrap();
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
}
