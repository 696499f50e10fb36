//! From a URI to a store.

use std::{path::Path, sync::Arc};

use crate::{DirStore, ObjectStore, S3Store, StorageConfig, StorageError, dir::lies_within};

/// Opens the store that holds `uri` and returns it with the key (or prefix) inside it, without
/// slashes at its ends. Nothing is read: a wrong bucket shows at the first action.
///
/// * `s3://bucket/prefix`;
/// * `file:///directory` (prefix empty) or, if that is a file, its directory and its name.
pub fn open(
    uri: &str,
    config: &StorageConfig,
) -> Result<(Arc<dyn ObjectStore>, String), StorageError> {
    open_within(uri, config, None)
}

/// [`open`], where files lie within this folder only, if one is given.
pub fn open_within(
    uri: &str,
    config: &StorageConfig,
    folder: Option<&Path>,
) -> Result<(Arc<dyn ObjectStore>, String), StorageError> {
    let invalid = |detail: &str| StorageError::Invalid {
        action: "open",
        at: uri.to_owned(),
        detail: format!("{detail}; expected s3://bucket/prefix or file:///directory"),
    };
    if let Some(rest) = uri.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() {
            return Err(invalid("the name of the bucket is missing"));
        }
        if let Some(wrong) = bucket.chars().find(|c| !named(*c)) {
            let detail = format!(
                "'{}' is not the name of a bucket: it has the character '{}'",
                bucket.escape_debug(),
                wrong.escape_debug()
            );
            return Err(invalid(&detail));
        }
        if let Some(endpoint) = &config.endpoint {
            check_endpoint(endpoint, bucket)?;
            if config.unsigned_payload && !endpoint.starts_with("https://") {
                return Err(StorageError::Invalid {
                    action: "open",
                    at: format!("endpoint {endpoint}"),
                    detail: "without TLS nothing protects content that is not signed; write https://, or leave out the unsigned payload".to_owned(),
                });
            }
        }
        let store = S3Store::new(bucket, config.clone());
        return Ok((Arc::new(store), prefix.trim_matches('/').to_owned()));
    }
    if let Some(path) = uri.strip_prefix("file://") {
        if !path.starts_with('/') {
            return Err(invalid("not an absolute path"));
        }
        let path = Path::new(path);
        let confined = |root: &Path| -> Arc<dyn ObjectStore> {
            let store = DirStore::new(root);
            match folder {
                Some(folder) => Arc::new(store.within(folder)),
                None => Arc::new(store),
            }
        };
        if let Some(folder) = folder
            && !lies_within(path, folder)
        {
            return Err(StorageError::Invalid {
                action: "open",
                at: uri.to_owned(),
                detail: format!(
                    "tables use no files outside {}; put the data into a bucket",
                    folder.display()
                ),
            });
        }
        if path.is_file()
            && let (Some(parent), Some(name)) = (
                path.parent(),
                path.file_name().and_then(|name| name.to_str()),
            )
        {
            return Ok((confined(parent), name.to_owned()));
        }
        return Ok((confined(path), String::new()));
    }
    Err(invalid("not a storage URI"))
}

/// An endpoint is a server: scheme, host and port. The bucket stands in the URI.
fn check_endpoint(endpoint: &str, bucket: &str) -> Result<(), StorageError> {
    let wrong = |shown: &str, detail: String| StorageError::Invalid {
        action: "open",
        at: format!("endpoint {shown}"),
        detail,
    };
    let split = ["http://", "https://"].into_iter().find_map(|scheme| {
        let rest = endpoint.strip_prefix(scheme)?;
        Some((scheme, rest))
    });
    let Some((scheme, rest)) = split else {
        let detail = "no http:// or https:// at its beginning; write http://host:port".to_owned();
        return Err(wrong(endpoint, detail));
    };
    let (host, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if let Some((_, host)) = host.rsplit_once('@') {
        let detail = format!(
            "it has credentials, which do not belong there; write {scheme}{host} and set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        );
        return Err(wrong(&format!("{scheme}{host}"), detail));
    }
    if !matches!(path, "" | "/") {
        let detail = format!(
            "it has the path '{path}'; write {scheme}{host}, and the bucket and prefix in the URI \
             s3://bucket/prefix"
        );
        return Err(wrong(endpoint, detail));
    }
    match host.strip_prefix(bucket) {
        Some(server) if server.starts_with(".s3.") || server.starts_with(".s3-") => {
            let detail = format!(
                "it has the bucket '{bucket}' in it; write {scheme}{}, the bucket stands in the URI",
                server.trim_start_matches('.')
            );
            Err(wrong(endpoint, detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_split_into_store_and_prefix() {
        let config = StorageConfig::default();
        let (store, prefix) = open("s3://bucket/a/b/", &config).unwrap();
        assert_eq!(
            (store.describe().as_str(), prefix.as_str()),
            ("s3://bucket", "a/b")
        );
        let (store, prefix) = open("s3://bucket", &config).unwrap();
        assert_eq!(
            (store.describe().as_str(), prefix.as_str()),
            ("s3://bucket", "")
        );
        let dir = tempfile::tempdir().unwrap();
        let uri = format!("file://{}", dir.path().display());
        let (store, prefix) = open(&uri, &config).unwrap();
        assert_eq!((store.describe(), prefix.as_str()), (uri.clone(), ""));
        std::fs::write(dir.path().join("one.json"), "{}").unwrap();
        let (store, prefix) = open(&format!("{uri}/one.json"), &config).unwrap();
        assert_eq!((store.describe(), prefix.as_str()), (uri, "one.json"));
    }

    fn opened_at(endpoint: &str, bucket: &str) -> Result<(), String> {
        let config = StorageConfig {
            endpoint: Some(endpoint.to_owned()),
            ..StorageConfig::default()
        };
        let uri = format!("s3://{bucket}/prefix");
        open(&uri, &config)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_with_more_than_a_server_is_refused_with_what_to_write() {
        for endpoint in [
            "http://minio:9000",
            "https://s3.example.org/",
            "http://[::1]:9000",
        ] {
            assert_eq!(opened_at(endpoint, "bucket"), Ok(()), "{endpoint}");
        }
        for (endpoint, said) in [
            (
                "http://minio:9000/bucket",
                "the path '/bucket'; write http://minio:9000,",
            ),
            (
                "http://minio:9000?x",
                "the path '?x'; write http://minio:9000,",
            ),
            (
                "https://bucket.s3.example.org",
                "the bucket 'bucket' in it; write https://s3.example.org,",
            ),
            ("minio:9000", "write http://host:port"),
            ("http://me:secret@minio", "write http://minio and set"),
        ] {
            let error = opened_at(endpoint, "bucket").unwrap_err();
            assert!(error.contains(said), "{endpoint}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }

    #[test]
    fn content_is_left_unsigned_only_under_tls() {
        let open_at = |endpoint: Option<&str>| {
            let config = StorageConfig {
                endpoint: endpoint.map(str::to_owned),
                unsigned_payload: true,
                ..StorageConfig::default()
            };
            open("s3://bucket/prefix", &config).map(drop)
        };
        open_at(None).unwrap();
        open_at(Some("https://s3.example.org")).unwrap();
        let refused = open_at(Some("http://minio:9000")).unwrap_err().to_string();
        assert!(refused.contains("write https://"), "{refused}");
    }

    #[test]
    fn a_bucket_may_have_capitals_and_underscores_and_a_wrong_character_is_named() {
        assert_eq!(opened_at("http://minio:9000", "My_Bucket"), Ok(()));
        let error = opened_at("http://minio:9000", "a b").unwrap_err();
        assert!(
            error.contains("'a b' is not the name of a bucket: it has the character ' '"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_uri_says_what_is_expected() {
        for uri in [
            "",
            "bucket/x",
            "s3://",
            "s3:///x",
            "http://host/x",
            "file://relative",
            "s3://a b",
        ] {
            let error = open(uri, &StorageConfig::default())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("expected s3://bucket/prefix"),
                "{uri}: {error}"
            );
        }
    }
}
