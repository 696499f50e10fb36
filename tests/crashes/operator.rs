//! The real operator as a process, one life after another.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kube::Client;
use tokio::process::{Child, Command};

use super::{
    control_plane::bound_to_us, crash_injector::CrashInjector, job_api_server::MASTER_KEY, proxy,
};

/// The operator under test.
const BINARY: &str = env!("CARGO_BIN_EXE_streamkeeper");
/// Makes one that was built for it act before it has written down what it does.
const ACTS_FIRST: &str = "STREAMKEEPER_TEST_ACTS_FIRST";

/// How operators of a stage are started.
#[derive(Debug, Clone)]
pub struct Lives {
    pub namespace: String,
    /// Where the S3 server listens.
    pub bucket: SocketAddr,
    /// For kubeconfigs and logs.
    pub folder: PathBuf,
    /// Whether it acts before it has written down what it does.
    pub acts_first: bool,
    /// Which life it is.
    pub life: Arc<AtomicUsize>,
}

impl Lives {
    /// Keeps an operator running; when the injector says so, it is killed and another one starts.
    /// Returns only when something went wrong.
    pub async fn go_on(self, client: Client, injector: Arc<CrashInjector>) -> String {
        loop {
            let life = self.life.load(Ordering::Acquire);
            let proxy = proxy::stand_in(client.clone(), injector.clone(), life).await;
            let mut child = match self.start(proxy.address, life) {
                Ok(child) => child,
                Err(error) => return format!("the operator cannot be started: {error}"),
            };
            tokio::select! {
                () = injector.wait_for_kill() => {
                    if let Err(error) = child.kill().await {
                        return format!("the operator cannot be killed: {error}");
                    }
                }
                ended = child.wait() => return format!("the operator ended by itself: {ended:?}"),
            }
            drop(proxy);
            self.life.fetch_add(1, Ordering::AcqRel);
            injector.operator_is_dead();
        }
    }

    fn start(&self, api_server: SocketAddr, life: usize) -> std::io::Result<Child> {
        let kubeconfig = self.folder.join(format!("kubeconfig-{life}"));
        std::fs::write(&kubeconfig, kubeconfig_for(api_server))?;
        let master_key = self.folder.join("master.key");
        std::fs::write(&master_key, MASTER_KEY)?;
        let log = File::create(self.log(life))?;
        let mut command = Command::from(bound_to_us(Path::new(BINARY)));
        command
            .arg("run")
            .arg(format!("--watch-namespaces={}", self.namespace))
            .arg(format!("--namespace={}", self.namespace))
            .args(["--listen=127.0.0.1:0", "--runtime-image=runtime:1"])
            .args([
                "--storage-uri=s3://streams/prod",
                "--storage-region=us-east-1",
            ])
            .arg(format!("--storage-endpoint=http://{}", self.bucket))
            // Coordinators are copies that do not speak TLS.
            .arg("--tls=false")
            .arg(format!("--master-key-file={}", master_key.display()))
            .args(["--node-lost-timeout=1s", "--image-pull-grace=1s"])
            .args(["--log=info", "--log-format=text"])
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("AWS_ACCESS_KEY_ID", "crashes")
            .env("AWS_SECRET_ACCESS_KEY", "crashes")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        if self.acts_first {
            command.env(ACTS_FIRST, "1");
        }
        command.spawn()
    }

    fn log(&self, life: usize) -> PathBuf {
        self.folder.join(format!("operator-{life}.log"))
    }

    /// The last lines of every life's log.
    pub fn last_words(&self) -> String {
        (0..=self.life.load(Ordering::Acquire))
            .map(|life| {
                let log = std::fs::read_to_string(self.log(life)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(40)..].join("\n");
                format!("--- operator, life {life}\n{last}\n")
            })
            .collect()
    }
}

/// Whether the guard can be switched off: two builds of Cargo share one place for the binary.
#[cfg(feature = "test-acts-first")]
pub fn can_act_first() -> bool {
    let binary = std::fs::read(BINARY).expect("an operator");
    binary
        .windows(ACTS_FIRST.len())
        .any(|bytes| bytes == ACTS_FIRST.as_bytes())
}

fn kubeconfig_for(api_server: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: it, cluster: {{server: 'http://{api_server}'}}}}]\nusers: [{{name: it, user: {{}}}}]\ncontexts: [{{name: it, context: {{cluster: it, user: it}}}}]\ncurrent-context: it\n"
    )
}
