//! Where in stores the operator may act with its own credentials: in its default storage and in the places
//! that its configuration names, and there only below the namespace of the object that it acts for.
//!
//! Anything else is worked by the pods of the job, with the job's own credentials. Only
//! [`Settings::grant`] makes a [`Grant`], and clients of stores take nothing else: what a spec or a
//! status names is never a place by itself.

use std::fmt;

use serde::Deserialize;

use super::{revision::ResolvedStorage, settings::Settings};

/// A place that the operator's configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedPlace {
    /// URL of an S3-compatible server; none means Amazon S3.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix in it; empty means the whole bucket.
    #[serde(default)]
    pub prefix: String,
}

/// Places as one flag gives them: a JSON list, or one of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Listed {
    Many(Vec<AllowedPlace>),
    One(AllowedPlace),
}

/// Places in a configuration, each checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedPlaces(pub Vec<AllowedPlace>);

impl std::str::FromStr for AllowedPlaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let example =
            r#"[{"endpoint":"https://s3.example.com","bucket":"streams","prefix":"prod"}]"#;
        let listed: Listed = serde_json::from_str(text)
            .map_err(|_| format!("expected a list of places as JSON, like {example}"))?;
        let places = match listed {
            Listed::Many(places) => places,
            Listed::One(place) => vec![place],
        };
        for place in &places {
            if let Some(url) = &place.endpoint
                && Endpoint::parse(url).is_none()
            {
                return Err(format!(
                    "endpoint `{url}` is not the URL of a server, like https://s3.example.com:9000"
                ));
            }
            if !is_bucket(&place.bucket) {
                return Err(format!(
                    "bucket `{}` is not the name of a bucket",
                    place.bucket
                ));
            }
            if components(place.prefix.trim_matches('/')).is_none() {
                return Err(format!(
                    "prefix `{}` must consist of names between single slashes",
                    place.prefix
                ));
            }
        }
        Ok(Self(places))
    }
}

/// A place where the operator may act with its own credentials. Only [`Settings::grant`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    storage: ResolvedStorage,
    namespace: String,
    key: String,
}

impl Grant {
    /// The store: its endpoint is written as the configuration writes it.
    pub const fn storage(&self) -> &ResolvedStorage {
        &self.storage
    }

    /// The namespace of the object that the operator acts for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key below which the operator may act.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Why the operator may not act at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAllowed {
    place: String,
    namespace: String,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the operator does not use its own credentials for {}: it is not below the namespace {} of the \
             operator's default storage, nor of a place that its configuration lists (storage.allowed in the \
             chart); an administrator can list it",
            self.place, self.namespace
        )
    }
}

impl Settings {
    /// Allows the operator to act below `key` of a store for an object in `namespace`, or says why not.
    pub fn grant(
        &self,
        storage: &ResolvedStorage,
        namespace: &str,
        key: &str,
    ) -> Result<Grant, NotAllowed> {
        let default = self.default_storage().ok().map(|default| AllowedPlace {
            endpoint: default.endpoint,
            bucket: default.bucket,
            prefix: default.prefix,
        });
        let mut places = default.iter().chain(&self.storage_allowed.0);
        let allowed = places
            .find(|place| guard!("storage.allowed decides": place.covers(storage, namespace, key)));
        let region = storage.region.as_deref();
        match allowed {
            Some(place) if guard!("a region names no other host": region.is_none_or(is_region)) => {
                Ok(Grant {
                    storage: ResolvedStorage {
                        endpoint: place.endpoint.clone(),
                        ..storage.clone()
                    },
                    namespace: namespace.to_owned(),
                    key: key.to_owned(),
                })
            }
            Some(_) | None => {
                let endpoint = storage.endpoint.as_deref().unwrap_or("Amazon S3");
                Err(NotAllowed {
                    place: format!("s3://{}/{key} at {endpoint}", storage.bucket),
                    namespace: namespace.to_owned(),
                })
            }
        }
    }
}

impl AllowedPlace {
    /// Whether `key` lies in this place, below the namespace.
    fn covers(&self, storage: &ResolvedStorage, namespace: &str, key: &str) -> bool {
        let store = match (&self.endpoint, &storage.endpoint) {
            (None, None) => true,
            (Some(here), Some(there)) => {
                let here = Endpoint::parse(here);
                here.is_some() && here == Endpoint::parse(there)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        let (Some(own), Some(asked)) = (components(self.prefix.trim_matches('/')), components(key))
        else {
            return false;
        };
        let below = guard!("a grant ends at its prefix": asked.strip_prefix(own.as_slice()), else asked.get(own.len()..));
        guard!("a grant is for its own server": store)
            && is_bucket(&self.bucket)
            && guard!("a grant is for its own bucket": self.bucket == storage.bucket)
            && below.is_some_and(|below| {
                guard!("a grant is for less than a namespace": below.len() > 1)
                    && guard!("a grant ends at its namespace": below.first() == Some(&namespace))
            })
    }
}

/// The names of a key between slashes; none when one is empty or could be read as something else.
fn components(key: &str) -> Option<Vec<&str>> {
    if key.is_empty() {
        return Some(Vec::new());
    }
    let plain = |name: &&str| {
        !name.is_empty()
            && *name != "."
            && *name != ".."
            && !name.contains(|c: char| c.is_control() || c == '\\')
    };
    let all: Vec<&str> = key.split('/').collect();
    all.iter().all(plain).then_some(all)
}

fn is_bucket(name: &str) -> bool {
    let named =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    (1..=255).contains(&name.len()) && name.chars().all(named)
}

/// A region becomes part of the name of a host.
fn is_region(name: &str) -> bool {
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(named)
}

/// A server, however its URL is written.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    scheme: String,
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `http(s)://host[:port][/]` and nothing else: no user, no path, no query.
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = if let Some(inside) = authority.strip_prefix('[') {
            let (host, port) = inside.split_once(']')?;
            let address: std::net::Ipv6Addr = host.parse().ok()?;
            (address.to_string(), port)
        } else {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(named) {
                return None;
            }
            (host, port)
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.chars().all(|c| c.is_ascii_digit()) => digits.parse().ok()?,
            None if port.is_empty() => default,
            Some(_) | None => return None,
        };
        Some(Self { scheme, host, port })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::v1alpha1::S3;

    fn settings() -> Settings {
        Settings {
            storage: Some(S3 {
                uri: "s3://shared/state".to_owned(),
                region: None,
                endpoint: Some("https://s3.example.com".to_owned()),
            }),
            storage_allowed: r#"[{"bucket": "aws", "prefix": "teams/"}]"#.parse().unwrap(),
            ..Settings::default()
        }
    }

    fn storage(endpoint: Option<&str>, bucket: &str) -> ResolvedStorage {
        ResolvedStorage {
            uri: format!("s3://{bucket}"),
            bucket: bucket.to_owned(),
            prefix: String::new(),
            region: None,
            endpoint: endpoint.map(ToOwned::to_owned),
        }
    }

    #[test]
    pub(in super::super) fn the_operator_acts_only_below_the_own_namespace_of_an_allowed_place() {
        let own = Some("https://s3.example.com");
        for (endpoint, bucket, key, allowed) in [
            (own, "shared", "state/a/job", true),
            (own, "shared", "state/a/team/a/job/savepoints/x", true),
            (None, "aws", "teams/a/job", true),
            // Another tenant's.
            (own, "shared", "state/b/job", false),
            (own, "shared", "state/b/a/job", false),
            (own, "shared", "state/ab/job", false),
            // The namespace as a whole.
            (own, "shared", "state/a", false),
            // A prefix ends where a name ends.
            (own, "shared", "state2/a/job", false),
            (own, "shared", "a/job", false),
            // Tricks.
            (own, "shared", "state/a/../b/job", false),
            (own, "shared", "state/a/./job", false),
            (own, "shared", "state//a/job", false),
            (own, "shared", "/state/a/job", false),
            (own, "shared", "state/a/job/", false),
            (own, "shared", "state/a/job\n", false),
            // Other stores.
            (None, "shared", "state/a/job", false),
            (own, "aws", "teams/a/job", false),
            (own, "Shared", "state/a/job", false),
            (Some("http://attacker"), "shared", "state/a/job", false),
        ] {
            let granted = settings().grant(&storage(endpoint, bucket), "a", key);
            assert_eq!(granted.is_ok(), allowed, "{endpoint:?} {bucket} {key}");
        }
    }

    #[test]
    fn a_server_is_the_same_however_its_url_is_written_and_no_other_looks_like_it() {
        for (url, same) in [
            ("https://s3.example.com/", true),
            ("https://S3.Example.COM", true),
            ("HTTPS://s3.example.com:443", true),
            ("https://s3.example.com.", true),
            ("http://s3.example.com", false),
            ("https://s3.example.com:444", false),
            ("https://s3.example.com@attacker", false),
            ("https://attacker@s3.example.com", false),
            ("https://s3.example.com:443@attacker", false),
            ("https://s3.example.com/../", false),
            ("https://s3.example.com?x", false),
            ("https://s3.example.com#x", false),
            ("https://s3.example.com\\.attacker", false),
            ("https://s3.example.com..", false),
            ("https://s3.example.com:", false),
            ("https://s3.example.com.attacker.com", false),
        ] {
            let granted = settings().grant(&storage(Some(url), "shared"), "a", "state/a/job");
            assert_eq!(granted.is_ok(), same, "{url}");
            // The client is told what the configuration says, not what a user wrote.
            if let Ok(granted) = granted {
                let told = granted.storage().endpoint.as_deref();
                assert_eq!(told, Some("https://s3.example.com"));
            }
        }
    }

    #[test]
    pub(in super::super) fn a_region_that_is_no_name_is_not_part_of_a_host() {
        let region = |region: &str| ResolvedStorage {
            region: Some(region.to_owned()),
            ..storage(None, "aws")
        };
        for (name, allowed) in [("eu-west-1", true), ("x.attacker.com/", false), ("", false)] {
            let granted = settings().grant(&region(name), "a", "teams/a/job");
            assert_eq!(granted.is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn places_that_cannot_be_meant_are_refused_when_the_operator_starts() {
        for text in [
            "s3://bucket",
            r#"[{"prefix": "x"}]"#,
            r#"[{"bucket": "b", "endpoint": "s3.example.com"}]"#,
            r#"[{"bucket": "b", "prefix": "a//b"}]"#,
            r#"[{"bucket": "a/b"}]"#,
            r#"[{"bucket": "b", "uri": "x"}]"#,
        ] {
            text.parse::<AllowedPlaces>().unwrap_err();
        }
        let one: AllowedPlaces = r#"{"bucket": "b"}"#.parse().unwrap();
        assert_eq!(one.0.len(), 1);
        assert_eq!("".parse::<AllowedPlaces>().unwrap().0.len(), 0);
    }
}
