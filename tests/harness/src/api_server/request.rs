//! Paths, verbs and bodies into calls.

use std::{fmt, time::Duration};

use http::{Method, request::Parts};
use serde_json::Value;

use super::{
    kinds::{KINDS, Kind},
    refusal::Refusal,
    selector::Selector,
};

/// What is done to a resource, as RBAC names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// As RBAC spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// A subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    Status,
    Scale,
}

/// A call of the API.
#[derive(Debug, Clone)]
pub struct Call {
    pub verb: Verb,
    pub kind: &'static Kind,
    pub subresource: Option<Subresource>,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub selector: Selector,
    /// Version that a watch goes on from.
    pub version: u64,
    /// How long a watch lasts.
    pub timeout: Duration,
    pub body: Value,
}

impl Call {
    /// Reads a request; what is not simulated is refused by name.
    pub fn parse(parts: &Parts, body: &[u8]) -> Result<Self, Refusal> {
        let path = parts.uri.path();
        let unknown = || {
            Refusal::not_found(&format!(
                "the server could not find the requested resource {path}"
            ))
        };
        let segments: Vec<&str> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(unknown()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some((*name).to_owned()), None),
            [plural, name, "status"] => {
                (plural, Some((*name).to_owned()), Some(Subresource::Status))
            }
            [plural, name, "scale"] => (plural, Some((*name).to_owned()), Some(Subresource::Scale)),
            _ => return Err(unknown()),
        };
        let served = |kind: &&&Kind| {
            kind.group == group && kind.version == version && kind.plural == *plural
        };
        let kind = KINDS.iter().find(served).copied().ok_or_else(unknown)?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body)
                .map_err(|error| Refusal::invalid(path, &error.to_string()))?
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let verb = match (&parts.method, &name) {
            (&Method::GET, Some(_)) => Verb::Get,
            (&Method::GET, None) if query.watch => Verb::Watch,
            (&Method::GET, None) => Verb::List,
            (&Method::POST, None) => Verb::Create,
            (&Method::PUT, Some(_)) => Verb::Update,
            (&Method::PATCH, Some(_)) => Verb::Patch,
            (&Method::DELETE, Some(_)) => Verb::Delete,
            _ => return Err(unknown()),
        };
        let content = parts
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if verb == Verb::Patch && content != "application/merge-patch+json" {
            return Err(Refusal {
                code: 415,
                reason: "UnsupportedMediaType",
                message: format!("patches of type {content} are not simulated"),
            });
        }
        let selector =
            Selector::parse(&query.selector).map_err(|why| Refusal::invalid(path, &why))?;
        Ok(Self {
            verb,
            kind,
            subresource,
            namespace,
            name,
            selector,
            version: query.version,
            timeout: query.timeout,
            body,
        })
    }

    /// Whether it changes anything.
    pub const fn writes(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }

    /// `apps/statefulsets`, `streamkeeper.dev/streamjobs/status`: as RBAC names it, behind its
    /// group.
    pub fn resource(&self) -> String {
        let subresource = match self.subresource {
            Some(Subresource::Status) => "/status",
            Some(Subresource::Scale) => "/scale",
            None => "",
        };
        format!("{}{subresource}", self.kind.resource())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self
            .name
            .as_deref()
            .or(self.body["metadata"]["name"].as_str())
            .unwrap_or_default();
        let name = if self.kind.kind == "Event" {
            self.body["reason"].as_str().unwrap_or(name)
        } else {
            name
        };
        write!(f, "{} {} {name}", self.verb.as_str(), self.resource())
    }
}

struct Query {
    watch: bool,
    selector: String,
    version: u64,
    timeout: Duration,
}

impl Query {
    fn parse(text: &str) -> Self {
        let mut query = Self {
            watch: false,
            selector: String::new(),
            version: 0,
            timeout: Duration::from_secs(290),
        };
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value);
            match name {
                "watch" => query.watch = value == "true",
                "labelSelector" => query.selector = value,
                "resourceVersion" => query.version = value.parse().unwrap_or(0),
                "timeoutSeconds" => {
                    query.timeout = Duration::from_secs(value.parse().unwrap_or(290));
                }
                _ => {}
            }
        }
        query
    }
}

/// Percent-decoded; selectors hold nothing but ASCII.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = String::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(' '),
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).map_or('?', char::from));
            }
            other => out.push(char::from(other)),
        }
    }
    out
}
