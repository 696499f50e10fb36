//! A real etcd, API server and controller manager (StatefulSets, garbage collection) on free
//! loopback ports.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, Weak, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, Config, api::PostParams};
use streamkeeper_api::crd;
use tempfile::TempDir;
use tokio::{process::Child, sync::oneshot};

const TOKEN: &str = "the-tests-own-token";
const TOKEN_OF_THE_CROWD: &str = "the-token-of-many";
/// How long a process may take until it serves; machines that compile beside it are slow.
const PATIENCE: Duration = Duration::from_mins(2);

/// The processes; they end with it.
#[derive(Debug)]
pub struct ControlPlane {
    config: Config,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

static SHARED: Mutex<Weak<ControlPlane>> = Mutex::new(Weak::new());

impl ControlPlane {
    /// The one that all tests of this process share; started if none runs.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start());
        *shared = Arc::downgrade(&started);
        started
    }

    /// Processes are bound to the life of the thread that starts them, so they get one of their
    /// own.
    fn start() -> Self {
        // Two TLS users, one provider: named before either asks for "the" default.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let folder = tempfile::Builder::new()
                    .prefix("streamkeeper-control-plane-")
                    .tempdir()
                    .expect("a folder");
                let mut processes = Processes::new(folder);
                let started = processes.start().await;
                let _ = tell.send(started);
                let _ = stopped.await;
                processes.end().await;
            });
        });
        let config = told
            .recv()
            .expect("the control plane's thread lives")
            .unwrap_or_else(|why| panic!("{why}"));
        Self {
            config,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A client of its administrator. It repeats nothing by itself: what is sent once arrives once.
    pub fn client(&self) -> Client {
        Client::try_from(self.config.clone()).expect("a client")
    }

    /// Returns a client whose requests are counted, unlike an administrator's. A second request at
    /// the same time is refused.
    pub fn client_that_is_counted(&self) -> Client {
        let mut config = self.config.clone();
        config.auth_info.token = Some(TOKEN_OF_THE_CROWD.to_owned().into());
        Client::try_from(config).expect("a client")
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Processes {
    folder: TempDir,
    binaries: PathBuf,
    running: Vec<(&'static str, Child)>,
}

impl Processes {
    fn new(folder: TempDir) -> Self {
        Self {
            folder,
            binaries: binaries(),
            running: Vec::new(),
        }
    }

    /// Another process may take a port between our look and its use: then it is tried again with
    /// others.
    async fn start(&mut self) -> Result<Config, String> {
        let mut why = String::new();
        for _ in 0..3 {
            match self.try_start().await {
                Ok(config) => return Ok(config),
                Err(error) => why = error,
            }
            self.end().await;
        }
        Err(format!("the control plane does not start: {why}"))
    }

    async fn try_start(&mut self) -> Result<Config, String> {
        let [etcd, peer, api] = free_ports();
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let data = path(&format!("etcd-{etcd}"));
        let (key, public, tokens, kubeconfig) = (
            path("sa.key"),
            path("sa.pub"),
            path("tokens.csv"),
            path("kubeconfig"),
        );
        openssl(&[
            "ecparam",
            "-genkey",
            "-name",
            "prime256v1",
            "-noout",
            "-out",
            &key,
        ])?;
        openssl(&["ec", "-in", &key, "-pubout", "-out", &public])?;
        write(
            &tokens,
            &format!(
                "{TOKEN},admin,admin,\"system:masters\"\n{TOKEN_OF_THE_CROWD},crowd,crowd,\"crowd\"\n"
            ),
        )?;
        let certificates = path("certificates");
        self.spawn(
            "etcd",
            &[
                format!("--data-dir={data}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
                format!("--listen-client-urls={}", at(etcd)),
                format!("--advertise-client-urls={}", at(etcd)),
                format!("--listen-peer-urls={}", at(peer)),
                format!("--initial-advertise-peer-urls={}", at(peer)),
                format!("--initial-cluster=default={}", at(peer)),
            ],
        )?;
        self.spawn(
            "kube-apiserver",
            &[
                format!("--etcd-servers={}", at(etcd)),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={api}"),
                format!("--cert-dir={certificates}"),
                format!("--token-auth-file={tokens}"),
                // What the chart grants is tested elsewhere.
                "--authorization-mode=AlwaysAllow".to_owned(),
                // There is no controller that makes ServiceAccounts.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
                // One test may ask for a lot at once: administrators are not counted, all others
                // are.
                "--enable-priority-and-fairness=false".to_owned(),
                "--max-requests-inflight=1".to_owned(),
                "--max-mutating-requests-inflight=1".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-signing-key-file={key}"),
                format!("--service-account-key-file={public}"),
                "--service-cluster-ip-range=10.255.0.0/24".to_owned(),
                "--profiling=false".to_owned(),
            ],
        )?;
        let server = format!("https://127.0.0.1:{api}");
        let mut config = Config::new(server.parse().expect("a URL"));
        config.accept_invalid_certs = true;
        config.default_retry = false;
        config.auth_info.token = Some(TOKEN.to_owned().into());
        let client = Client::try_from(config.clone()).map_err(|error| error.to_string())?;
        self.wait_for_api(&client).await?;
        self.install_crds(&client).await?;
        write(
            &kubeconfig,
            &format!(
                "apiVersion: v1\nkind: Config\nclusters: [{{name: it, cluster: {{server: '{server}', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: it, user: {{token: {TOKEN}}}}}]\ncontexts: [{{name: it, context: {{cluster: it, user: it}}}}]\ncurrent-context: it\n"
            ),
        )?;
        // The garbage collector knows the kinds that are there when it starts.
        self.spawn(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={kubeconfig}"),
                "--controllers=statefulset-controller,garbage-collector-controller".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                "--kube-api-qps=1000".to_owned(),
                "--kube-api-burst=2000".to_owned(),
                "--profiling=false".to_owned(),
            ],
        )?;
        Ok(config)
    }

    fn spawn(&mut self, name: &'static str, flags: &[String]) -> Result<(), String> {
        let log = File::create(self.log(name)).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = tokio::process::Command::from(bound_to_us(&self.binaries.join(name)));
        let child = command
            .args(flags)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        self.running.push((name, child));
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    async fn wait_for_api(&mut self, client: &Client) -> Result<(), String> {
        let ready = || {
            let request = http::Request::get("/readyz")
                .body(Vec::new())
                .expect("a request");
            client.request_text(request)
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let Err(error) = ready().await else {
                return Ok(());
            };
            let ended = self
                .running
                .iter_mut()
                .find_map(|(name, child)| Some((*name, child.try_wait().ok()??)));
            if let Some((name, status)) = ended {
                let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
                let from = log.len().saturating_sub(2000);
                let last = log.get(from..).unwrap_or_default();
                return Err(format!("{name} ended ({status}); its last words:\n{last}"));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!("the API server is not ready: {error}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn install_crds(&self, client: &Client) -> Result<(), String> {
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for (_, definition) in crd::files() {
            let name = definition.metadata.name.clone().unwrap_or_default();
            crds.create(&PostParams::default(), &definition)
                .await
                .map_err(|error| format!("{name} cannot be created: {error}"))?;
            kube::runtime::wait::await_condition(
                crds.clone(),
                &name,
                kube::runtime::conditions::is_crd_established(),
            )
            .await
            .map_err(|error| format!("{name} is not established: {error}"))?;
        }
        Ok(())
    }

    /// Last started, first ended.
    async fn end(&mut self) {
        while let Some((_, mut child)) = self.running.pop() {
            let _ = child.kill().await;
        }
    }
}

/// A command whose process does not outlive the thread that starts it, however that ends.
pub fn bound_to_us(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// The folder that `dev/setup` builds Kubernetes into.
fn binaries() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/cluster/cluster");
    let told = Command::new(&script)
        .arg("bin")
        .output()
        .unwrap_or_else(|error| panic!("{} does not run: {error}", script.display()));
    let folder = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    assert!(
        folder.join("complete").exists(),
        "these tests need an API server, and there is none in {}; `dev/setup cluster` builds it once",
        folder.display()
    );
    folder
}

fn free_ports<const N: usize>() -> [u16; N] {
    let sockets =
        [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback"));
    sockets.map(|socket| socket.local_addr().expect("bound").port())
}

fn openssl(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("openssl")
        .args(arguments)
        .output()
        .map_err(|error| format!("openssl does not run: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&done.stderr);
    Err(format!("openssl {arguments:?}: {why}"))
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}
