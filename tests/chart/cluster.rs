//! As much of an API server as `helm template --dry-run=server` asks: discovery, and objects by
//! name.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Kind, plural, whether it has a namespace.
type Kind = (&'static str, &'static str, bool);

/// Groups and their kinds, as far as the chart uses them.
const KINDS: [(&str, &[Kind]); 6] = [
    (
        "v1",
        &[
            ("Namespace", "namespaces", false),
            ("Pod", "pods", true),
            ("Secret", "secrets", true),
            ("Service", "services", true),
            ("ServiceAccount", "serviceaccounts", true),
        ],
    ),
    ("apps/v1", &[("Deployment", "deployments", true)]),
    (
        "policy/v1",
        &[("PodDisruptionBudget", "poddisruptionbudgets", true)],
    ),
    (
        "networking.k8s.io/v1",
        &[("NetworkPolicy", "networkpolicies", true)],
    ),
    (
        "rbac.authorization.k8s.io/v1",
        &[
            ("ClusterRole", "clusterroles", false),
            ("ClusterRoleBinding", "clusterrolebindings", false),
            ("Role", "roles", true),
            ("RoleBinding", "rolebindings", true),
        ],
    ),
    (
        "apiextensions.k8s.io/v1",
        &[(
            "CustomResourceDefinition",
            "customresourcedefinitions",
            false,
        )],
    ),
];

/// The server. Its thread ends with the test's process.
pub struct Cluster {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    kubeconfig: PathBuf,
    _folder: TempDir,
}

impl Cluster {
    /// A cluster with its own namespaces, and with these ones.
    pub fn with(namespaces: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let cluster = json!({"name": "test", "cluster": {"server": server}});
        let context = json!({"name": "test", "context": {"cluster": "test", "user": "test"}});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [cluster], "contexts": [context],
            "users": [{"name": "test", "user": {"token": "test"}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let cluster = Self {
            objects: Arc::default(),
            kubeconfig,
            _folder: folder,
        };
        for namespace in [&["kube-system"], namespaces].concat() {
            let path = format!("/api/v1/namespaces/{namespace}");
            let name = json!({"name": namespace});
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": name});
            cluster.put(&path, object);
            cluster.put_in(namespace, "ServiceAccount", "default", json!({}));
        }
        let objects = cluster.objects.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let objects = objects.clone();
                thread::spawn(move || answer(stream, &objects));
            }
        });
        cluster
    }

    /// Arguments by which `helm template` sees it. It has no schemas.
    pub fn seen(&self) -> [&str; 4] {
        let kubeconfig = self.kubeconfig.to_str().unwrap();
        let schemas = "--disable-openapi-validation";
        ["--dry-run=server", schemas, "--kubeconfig", kubeconfig]
    }

    fn put(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// Puts an object of the core group into a namespace, as one of release `streamkeeper` there.
    pub fn put_in(&self, namespace: &str, kind: &str, name: &str, more: Value) {
        let mut object = more;
        object["apiVersion"] = json!("v1");
        object["kind"] = json!(kind);
        object["metadata"] = json!({
            "name": name, "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "streamkeeper",
                "meta.helm.sh/release-namespace": namespace,
            },
        });
        let plural = format!("{}s", kind.to_lowercase());
        let path = format!("/api/v1/namespaces/{namespace}/{plural}/{name}");
        self.put(&path, object);
    }
}

fn answer(stream: TcpStream, objects: &Mutex<BTreeMap<String, Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 || header.trim().is_empty() {
            break;
        }
    }
    let path = path.split('?').next()?;
    let known = objects.lock().unwrap().get(path).cloned();
    let (status, body) = match known.or_else(|| discovery(path)) {
        Some(found) => ("200 OK", found),
        None => (
            "404 Not Found",
            json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure",
                "reason": "NotFound", "code": 404, "message": format!("no {path}"),
            }),
        ),
    };
    let body = body.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok()
}

fn discovery(path: &str) -> Option<Value> {
    match path {
        "/version" => {
            return Some(json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}));
        }
        "/api" => return Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => {
            let groups = KINDS.iter().filter_map(|(group_version, _)| {
                let (group, version) = group_version.split_once('/')?;
                let version = json!({"groupVersion": group_version, "version": version});
                Some(json!({"name": group, "versions": [version], "preferredVersion": version}))
            });
            let groups: Vec<Value> = groups.collect();
            return Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        }
        _ => {}
    }
    let group_version = path
        .strip_prefix("/apis/")
        .or_else(|| path.strip_prefix("/api/"))?;
    let (_, kinds) = KINDS.iter().find(|(known, _)| *known == group_version)?;
    let resources = kinds.iter().map(|(kind, plural, namespaced)| {
        json!({
            "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind,
            "verbs": ["get", "list", "create", "delete", "patch"],
        })
    });
    let resources: Vec<Value> = resources.collect();
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version, "resources": resources,
    }))
}
