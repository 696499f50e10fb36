//! Where state lies: what the chart refuses, with what to write instead.

use streamkeeper_api::v1alpha1::Sse;
use streamkeeper_harness::helm::{chart, helm, render, rendered};
use streamkeeper_lifecycle::AllowedPlaces;

use crate::{only, operator, text, variable};

/// What Helm says of a value that it must refuse.
#[track_caller]
fn refused(value: &str) -> String {
    let chart = chart();
    let own_key = "tls.existingSecret=keys";
    let output = helm(&["template", "x", &chart, "--set", own_key, "--set", value]);
    assert!(!output.status.success(), "{value} is taken");
    text(&output.stderr)
}

#[test]
fn an_endpoint_that_is_more_or_less_than_a_server_is_refused_with_what_to_write() {
    for (endpoint, sentence) in [
        (
            "http://s3.storage.svc:8333/streams/prod",
            "write storage.s3.endpoint=http://s3.storage.svc:8333, and bucket and prefix as storage.s3.uri, like s3://streams/prod",
        ),
        ("https://s3.example.com/?x=1", "like s3://bucket/prefix"),
        (
            "https://streams.s3.eu-west-1.amazonaws.com",
            "it has the bucket \"streams\" in it; write storage.s3.uri=s3://streams/prefix",
        ),
        ("https://streams.s3.amazonaws.com", "the bucket \"streams\""),
        (
            "https://streams.fra1.digitaloceanspaces.com",
            "the bucket \"streams\"",
        ),
        ("https://key:secret@s3.example.com", "credentials in it"),
        (
            "s3.example.com:9000",
            "write the URL of a server, like https://s3.example.com",
        ),
        ("s3://bucket", "write the URL of a server"),
        ("http://", "write the URL of a server"),
        ("http://s3.example.com:port", "no name and port of a server"),
    ] {
        let said = refused(&format!("storage.s3.endpoint={endpoint}"));
        assert!(said.contains(sentence), "{endpoint}: {said}");
        assert!(!said.contains("secret@"), "{said}");
    }
    for endpoint in [
        "http://s3.storage.svc:8333",
        "https://s3.example.com/",
        "https://s3.eu-west-1.amazonaws.com",
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "https://bucket.vpce-1a2b-3c4d.s3.eu-west-1.vpce.amazonaws.com",
        "http://10.0.0.1:9000",
        "http://[fd00::1]:9000",
        "https://storage.googleapis.com",
        "https://fra1.digitaloceanspaces.com",
    ] {
        let objects = render(&[&format!("storage.s3.endpoint={endpoint}")]);
        let given = variable(&objects, "STREAMKEEPER_STORAGE_ENDPOINT");
        assert_eq!(given, Some(endpoint));
    }
}

#[test]
fn a_uri_that_names_no_bucket_is_refused_with_what_to_write() {
    for (uri, sentence) in [
        (
            "streams/prod",
            "write the bucket and, if you like, a prefix in it",
        ),
        (
            "https://s3.example.com/streams",
            "the server's address is storage.s3.endpoint",
        ),
        ("s3://", "\"\" is no name of a bucket"),
        ("s3:///prod", "\"\" is no name of a bucket"),
        ("s3://x", "\"x\" is no name of a bucket"),
        ("s3://str*eams/prod", "\"*\" is in no name of a bucket"),
        (
            "s3://s3.storage.svc:8333/streams",
            "\":\" is in no name of a bucket",
        ),
        ("s3://streams//prod", "single slashes"),
        ("s3://streams/a b", "no spaces"),
    ] {
        let said = refused(&format!("storage.s3.uri={uri}"));
        assert!(said.contains(sentence), "{uri}: {said}");
    }
    for uri in [
        "s3://streams",
        "s3://streams/",
        "s3://my.streams-1/a/b=c",
        "s3://My_Streams/prod",
    ] {
        let objects = render(&[&format!("storage.s3.uri={uri}")]);
        assert_eq!(variable(&objects, "STREAMKEEPER_STORAGE_URI"), Some(uri));
    }
}

#[test]
fn a_place_without_endpoint_and_prefix_may_say_so_with_empty_values() {
    let allowed = r#"storage.allowed=[{"endpoint":"","bucket":"My_Bucket","prefix":""}]"#;
    let objects = rendered(&chart(), "default", &["--set-json", allowed], &[]);
    let given = variable(&objects, "STREAMKEEPER_STORAGE_ALLOWED").unwrap();
    let places: AllowedPlaces = given.parse().unwrap();
    assert_eq!(places.0[0].endpoint, None);
}

#[test]
fn how_the_state_is_encrypted_and_signed_reaches_the_operator() {
    let objects = render(&[
        "storage.s3.sse.type=aws:kms",
        "storage.s3.sse.kmsKeyId=alias/streams",
        "storage.s3.unsignedPayload=true",
    ]);
    let sse = variable(&objects, "STREAMKEEPER_STORAGE_SSE").unwrap();
    let read: Sse = serde_json::from_str(sse).unwrap();
    assert_eq!(read.kms_key_id.as_deref(), Some("alias/streams"));
    let unsigned = variable(&objects, "STREAMKEEPER_STORAGE_UNSIGNED_PAYLOAD");
    assert_eq!(unsigned, Some("true"));
    let objects = render(&["storage.s3.sse.type=aws:kms"]);
    let sse = variable(&objects, "STREAMKEEPER_STORAGE_SSE").unwrap();
    let read: Sse = serde_json::from_str(sse).unwrap();
    assert_eq!(read.kms_key_id, None);
    assert_eq!(variable(&render(&[]), "STREAMKEEPER_STORAGE_SSE"), None);

    let said = refused("storage.s3.sse.kmsKeyId=alias/streams");
    assert!(said.contains("write storage.s3.sse.type=aws:kms"), "{said}");
    let plain = "storage.s3.endpoint=http://s3.storage.svc:8333,storage.s3.unsignedPayload=true";
    let said = refused(plain);
    assert!(said.contains("write https://"), "{said}");
}

#[test]
fn certificates_of_a_private_authority_reach_the_operator_and_the_jobs() {
    let values = [
        "storage.s3.endpoint=https://s3.example.com",
        "storage.s3.caBundle.configMap=private",
        "storage.s3.caBundle.key=root.pem",
    ];
    let objects = render(&values);
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let volume = &pod["volumes"][1]["configMap"];
    assert_eq!(volume["name"], "private");
    assert_eq!(volume["items"][0]["key"], "root.pem");
    let mount = &operator(&objects)["volumeMounts"][1];
    let folder = mount["mountPath"].as_str();
    assert_eq!(variable(&objects, "SSL_CERT_DIR"), folder);
    let of_jobs = variable(&objects, "STREAMKEEPER_JOB_CA_BUNDLE");
    assert_eq!(of_jobs, Some("private"));
    assert_eq!(variable(&render(&[]), "SSL_CERT_DIR"), None);
}
