//! The way to a store: through a proxy, and past certificates. Both come from the environment, so
//! each reading is done by a process of its own.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
};

use streamkeeper_storage::{StorageConfig, open};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Where [`reading`] reads.
const ENDPOINT: &str = "EGRESS_ENDPOINT";

#[tokio::test]
#[ignore = "the other tests of this file run it, with an environment of their own"]
async fn reading() {
    let Ok(endpoint) = env::var(ENDPOINT) else {
        return;
    };
    let config = StorageConfig {
        endpoint: Some(endpoint),
        region: None,
        ..StorageConfig::default()
    };
    let (store, _) = open("s3://bucket", &config).unwrap();
    let error = store.get("key").await.unwrap_err();
    println!("answer: {error}");
}

/// What a process with these variables makes of a reading from `endpoint`.
fn read_from(endpoint: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "egress::reading", "--ignored", "--nocapture"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .env(ENDPOINT, endpoint)
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said.split_once("answer: ").unwrap().1.to_owned()
}

/// A proxy that refuses: its address, and the first lines that it is sent.
fn proxy() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, lines) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(&stream);
            if reader.read_line(&mut line).is_ok() && asked.send(line).is_err() {
                return;
            }
            let mut header = String::new();
            while reader.read_line(&mut header).is_ok_and(|read| read > 2) {
                header.clear();
            }
            let _ = (&stream).write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address, lines)
}

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

#[test]
fn a_store_behind_a_proxy_is_reached_through_it_and_others_are_not() {
    let (address, lines) = proxy();
    let https = format!("https://{NOWHERE}");
    let through = [("HTTPS_PROXY", address.as_str())];
    read_from(&https, &through);
    let asked = lines.try_iter().next();
    assert_eq!(asked.as_deref(), Some("CONNECT 127.0.0.1:1 HTTP/1.1\r\n"));
    assert!(lines.try_iter().all(|line| line.starts_with("CONNECT ")));

    read_from(&https, &[through[0], ("NO_PROXY", "127.0.0.1")]);
    read_from(&https, &[]);
    let plain = format!("http://{NOWHERE}");
    read_from(&plain, &[through[0], ("HTTP_PROXY", address.as_str())]);
    assert_eq!(lines.try_iter().next(), None);
}

/// A server with a certificate of an authority of its own: its address, and the authority's
/// certificate. It has no object at all.
fn private_server() -> (String, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = Stream::new(&mut connection, &mut stream);
            let mut some = [0; 4096];
            if tls.read(&mut some).is_ok() {
                let answer =
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = tls.write_all(answer.as_bytes());
            }
        }
    });
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        aws_smithy_types::base64::encode(cert.der())
    );
    (format!("https://localhost:{port}"), pem)
}

#[test]
fn a_store_of_a_private_authority_is_trusted_where_its_certificate_lies() {
    let (server, authority) = private_server();
    let (_, other) = private_server();
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public.crt");
    fs::write(&public, other).unwrap();
    let private = folder.path().join("authorities");
    fs::create_dir(&private).unwrap();
    let file = ("SSL_CERT_FILE", public.to_str().unwrap());
    let without = read_from(&server, &[file]);
    assert!(without.contains("certificate"), "{without}");
    fs::write(private.join("ca.crt"), authority).unwrap();
    let with = read_from(
        &server,
        &[file, ("SSL_CERT_DIR", private.to_str().unwrap())],
    );
    assert!(with.contains("no such object"), "{with}");
}
