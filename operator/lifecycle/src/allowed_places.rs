//! The places in stores that the operator's configuration allows beside its default storage.

use serde::Deserialize;
use streamkeeper_guard::guard;

use crate::revision::storage::{ResolvedStorage, no_bucket};

/// A place that the operator's configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedPlace {
    /// URL of an S3-compatible server; none, or an empty one, means Amazon S3.
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
        let mut places = match listed {
            Listed::Many(places) => places,
            Listed::One(place) => vec![place],
        };
        for place in &mut places {
            place.endpoint = place.endpoint.take().filter(|url| !url.is_empty());
            if let Some(url) = &place.endpoint
                && Endpoint::parse(url).is_none()
            {
                return Err(format!(
                    "endpoint `{url}` is not the URL of a server, like https://s3.example.com:9000"
                ));
            }
            if let Some(why) = no_bucket(&place.bucket) {
                return Err(format!(
                    "bucket `{}` is not the name of a bucket: {why}",
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

impl AllowedPlace {
    /// Whether this place lies in the bucket of a storage.
    pub(crate) fn is_in(&self, storage: &ResolvedStorage) -> bool {
        let store = match (&self.endpoint, &storage.endpoint) {
            (None, None) => true,
            (Some(here), Some(there)) => {
                let here = Endpoint::parse(here);
                here.is_some() && here == Endpoint::parse(there)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        guard!("a grant is for its own server": store)
            && guard!("a grant is for its own bucket": self.bucket == storage.bucket)
    }
}

/// The names of a key between slashes; none when one is empty or could be read as something else.
pub(crate) fn components(key: &str) -> Option<Vec<&str>> {
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
