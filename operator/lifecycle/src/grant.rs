//! Where in stores the operator may act with its own credentials: in its default storage and in the
//! places that its configuration names, and there only below the namespace of the object that it
//! acts for. Where places lie in one another, the longest that holds a key decides: in it the names
//! of namespaces begin where its prefix ends.
//!
//! Anything else is worked by the pods of the job, with the job's own credentials. Only
//! [`grant`] makes a [`Grant`], and clients of stores take nothing else: what a spec or a
//! status names is never a place by itself.

use std::fmt;

use streamkeeper_guard::guard;

use crate::{
    allowed_places::{AllowedPlace, components},
    revision::storage::ResolvedStorage,
    settings::Settings,
};

/// A place where the operator may act with its own credentials. Only [`grant`] makes one.
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

/// Allows the operator to act below `key` of a store for an object in `namespace`, or says why
/// not.
pub fn grant(
    settings: &Settings,
    storage: &ResolvedStorage,
    namespace: &str,
    key: &str,
) -> Result<Grant, NotAllowed> {
    let default = settings.default_storage().ok().map(|default| AllowedPlace {
        endpoint: default.endpoint,
        bucket: default.bucket,
        prefix: default.prefix,
    });
    let places = default.iter().chain(&settings.storage_allowed.0);
    let allowed = deciding(places, storage, key).filter(|(_, below)| {
        guard!("a grant is for less than a namespace": below.len() > 1)
            && guard!("a grant ends at its namespace": below.first() == Some(&namespace))
    });
    let own_region = settings
        .storage
        .as_ref()
        .and_then(|own| own.region.as_ref());
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

/// A region becomes part of the name of a host.
fn is_region(name: &str) -> bool {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=63).contains(&name.len()) && name.chars().all(named)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::allowed_places::AllowedPlaces;
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
    pub(crate) fn the_operator_acts_only_below_the_own_namespace_of_an_allowed_place() {
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
            let granted = grant(&settings(), &storage(endpoint, bucket), "a", key);
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
            let granted = grant(&settings, &storage(own, "shared"), namespace, key);
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
            let granted = grant(
                &settings(),
                &storage(Some(url), "shared"),
                "a",
                "state/a/job",
            );
            assert_eq!(granted.is_ok(), same, "{url}");
            // The client is told what the configuration says, not what a user wrote.
            if let Ok(granted) = granted {
                let told = granted.storage().endpoint.as_deref();
                assert_eq!(told, Some("https://s3.example.com"));
            }
        }
    }

    #[test]
    pub(crate) fn a_region_that_is_no_name_is_not_part_of_a_host() {
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
            let granted = grant(&settings(), &region(name), "a", "teams/a/job");
            assert_eq!(granted.is_ok(), allowed, "{name}");
            if let Err(refused) = granted {
                assert!(refused.to_string().contains("spec.storage.s3.region"));
            }
        }
        // What the administrator says of the default storage is taken as it is.
        let mut settings = settings();
        settings.storage.as_mut().unwrap().region = Some("mars.1".to_owned());
        grant(&settings, &region("mars.1"), "a", "teams/a/job").unwrap();
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
