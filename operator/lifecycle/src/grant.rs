//! Where in stores the operator may act with its own credentials: in its default storage and in the
//! places that its configuration names, and there only below the namespace of the object that it
//! acts for. Where places lie in one another, the longest that holds a key decides: in it the names
//! of namespaces begin where its prefix ends.
//!
//! Anything else is worked by the pods of the job, with the job's own credentials. Only
//! [`Settings::grant`] makes a [`Grant`], and clients of stores take nothing else: what a spec or a
//! status names is never a place by itself.

use std::fmt;

use serde::Deserialize;
use streamkeeper_guard::guard;

use super::{revision::ResolvedStorage, settings::Settings};

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
    /// A region that is no name, if that is why.
    region: Option<String>,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(region) = &self.region {
            return write!(
                f,
                "the operator does not use its own credentials for {}: `{region}` (spec.storage.s3.region) is not \
                 the name of a region, which has letters, digits, '-' and '_'",
                self.place
            );
        }
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
    /// Allows the operator to act below `key` of a store for an object in `namespace`, or says why
    /// not.
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
        let places = default.iter().chain(&self.storage_allowed.0);
        let allowed = deciding(places, storage, key).filter(|(_, below)| {
            guard!("a grant is for less than a namespace": below.len() > 1)
                && guard!("a grant ends at its namespace": below.first() == Some(&namespace))
        });
        let own_region = self.storage.as_ref().and_then(|own| own.region.as_ref());
        let region = storage.region.as_ref();
        let strange = region.filter(|region| own_region != Some(*region) && !is_region(region));
        match allowed {
            Some((place, _)) if guard!("a region names no other host": strange.is_none()) => {
                Ok(Grant {
                    storage: ResolvedStorage {
                        endpoint: place.endpoint.clone(),
                        ..storage.clone()
                    },
                    namespace: namespace.to_owned(),
                    key: key.to_owned(),
                })
            }
            other => {
                let endpoint = storage.endpoint.as_deref().unwrap_or("Amazon S3");
                Err(NotAllowed {
                    place: format!("s3://{}/{key} at {endpoint}", storage.bucket),
                    namespace: namespace.to_owned(),
                    region: other.and(strange).cloned(),
                })
            }
        }
    }
}

/// The place that decides about `key`, and what of the key lies below it: the longest that holds
/// it. None decides about a key that holds a place itself, because what lies there belongs to
/// others.
fn deciding<'a, 'k>(
    places: impl Iterator<Item = &'a AllowedPlace>,
    storage: &ResolvedStorage,
    key: &'k str,
) -> Option<(&'a AllowedPlace, Vec<&'k str>)> {
    let asked = components(key)?;
    let mut found: Option<(&'a AllowedPlace, Vec<&'k str>)> = None;
    for place in places.filter(|place| place.is_in(storage)) {
        let own = components(place.prefix.trim_matches('/'))?;
        let holds = own.iter().zip(&asked).all(|(own, asked)| own == asked);
        if !guard!("a grant ends at its prefix": holds) {
            continue;
        }
        if own.len() >= asked.len() {
            return None;
        }
        let below = &asked[own.len()..];
        if found
            .as_ref()
            .is_none_or(|(_, known)| below.len() < known.len())
        {
            found = Some((place, below.to_vec()));
        }
    }
    found
}

impl AllowedPlace {
    /// Whether this place lies in the bucket of a storage.
    fn is_in(&self, storage: &ResolvedStorage) -> bool {
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

/// Why no store can have a bucket of this name, if so. Other stores than Amazon's have more names
/// than that one.
pub(super) fn no_bucket(name: &str) -> Option<String> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if let Some(strange) = name.chars().find(|c| !named(*c)) {
        return Some(format!("it has the character '{}'", strange.escape_debug()));
    }
    (!(1..=255).contains(&name.len())).then(|| "it has 1 to 255 characters".to_owned())
}

/// A region becomes part of the name of a host.
fn is_region(name: &str) -> bool {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
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
    use streamkeeper_api::v1alpha1::S3;

    fn settings() -> Settings {
        Settings {
            storage: Some(S3 {
                uri: "s3://shared/state".to_owned(),
                region: None,
                endpoint: Some("https://s3.example.com".to_owned()),
                ..S3::default()
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
            ..ResolvedStorage::default()
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
    fn of_places_in_one_another_the_longest_that_holds_a_key_decides() {
        let own = Some("https://s3.example.com");
        let settings = Settings {
            storage_allowed: r#"[{"bucket": "shared", "endpoint": "https://s3.example.com"},
                {"bucket": "shared", "endpoint": "https://s3.example.com", "prefix": "wide/job/savepoints"}]"#
                .parse()
                .unwrap(),
            ..settings()
        };
        for (namespace, key, allowed) in [
            ("a", "state/a/job", true),
            ("a", "a/job", true),
            // The name of a prefix is no namespace where the prefix is a place of its own.
            ("state", "state/a/job", false),
            ("state", "state/a", false),
            ("state", "state/state/job", true),
            ("wide", "wide/other", true),
            // What holds another place holds what is others'.
            ("wide", "wide/job", false),
            ("wide", "wide/job/savepoints/x", false),
        ] {
            let granted = settings.grant(&storage(own, "shared"), namespace, key);
            assert_eq!(granted.is_ok(), allowed, "{namespace} {key}");
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
        for (name, allowed) in [
            ("eu-west-1", true),
            ("Region_One", true),
            ("x.attacker.com/", false),
            ("", false),
        ] {
            let granted = settings().grant(&region(name), "a", "teams/a/job");
            assert_eq!(granted.is_ok(), allowed, "{name}");
            if let Err(refused) = granted {
                assert!(refused.to_string().contains("spec.storage.s3.region"));
            }
        }
        // What the administrator says of the default storage is taken as it is.
        let mut settings = settings();
        settings.storage.as_mut().unwrap().region = Some("mars.1".to_owned());
        settings
            .grant(&region("mars.1"), "a", "teams/a/job")
            .unwrap();
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
        let refused = r#"[{"bucket": "a b"}]"#.parse::<AllowedPlaces>();
        assert!(refused.unwrap_err().contains("the character ' '"));
        let everywhere: AllowedPlaces =
            r#"[{"bucket": "My_Bucket", "endpoint": "", "prefix": ""}]"#
                .parse()
                .unwrap();
        assert_eq!(everywhere.0[0].endpoint, None);
        let one: AllowedPlaces = r#"{"bucket": "b"}"#.parse().unwrap();
        assert_eq!(one.0.len(), 1);
        assert_eq!("".parse::<AllowedPlaces>().unwrap().0.len(), 0);
    }
}
