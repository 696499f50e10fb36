//! What the SQL of a job may reach in the process that runs it: variables and files.
//!
//! In a pod the environment holds credentials that the operator put there, and files hold keys:
//! neither belongs to the author of the SQL. One process runs one job, so this is settled once, at
//! its start.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use streamkeeper_storage::dir::lies_within;

/// Secrets of a process that no SQL reads, unless it is named.
const SECRETS: [&str; 4] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];
/// What the operator tells its pods, and settings of this program.
const OWN: &str = "STREAMKEEPER_";

static OF_PROCESS: OnceLock<Access> = OnceLock::new();

/// What SQL may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    variables: Variables,
    files: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Variables {
    /// All but secrets.
    Local,
    /// These and no others.
    Named(BTreeSet<String>),
}

impl Access {
    /// On a person's own machine: their files, and their environment but for secrets.
    pub fn local() -> Self {
        Self {
            variables: Variables::Local,
            files: None,
        }
    }

    /// In a pod: the variables of `spec.env`, separated by commas, and files below one folder. A
    /// pod of an operator that does not name variables yet may use all but secrets.
    pub fn of_pod(variables: Option<&str>, files: PathBuf) -> Self {
        let named = |names: &str| {
            let names = names.split(',').map(str::trim);
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Self {
            variables: variables.map_or(Variables::Local, |names| Variables::Named(named(names))),
            files: Some(files),
        }
    }

    /// Settles it for this process; the first word counts.
    pub fn settle(self) {
        let _ = OF_PROCESS.set(self);
    }

    /// What holds for this process.
    pub fn of_process() -> &'static Self {
        OF_PROCESS.get_or_init(Self::local)
    }

    /// Whether SQL may use a variable of this name.
    pub fn has_variable(&self, name: &str) -> bool {
        match &self.variables {
            Variables::Local => !SECRETS.contains(&name) && !name.starts_with(OWN),
            Variables::Named(names) => names.contains(name),
        }
    }

    /// Folder that files of tables must lie in, if they must.
    pub fn files(&self) -> Option<&Path> {
        self.files.as_deref()
    }

    /// Why the value of a table's option names a file that SQL may not reach, if it does.
    pub fn objection_to_path(&self, path: &str) -> Option<String> {
        let folder = self.files()?;
        let path = path.trim();
        let rest = match path.split_once(':') {
            _ if path.starts_with('/') => path,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                rest.strip_prefix("//").unwrap_or(rest)
            }
            _ => return None,
        };
        (!lies_within(Path::new(rest), folder)).then(|| {
            format!(
                "'{path}' is a file of the pod, and tables use no files outside {}; put the data into a bucket",
                folder.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_pod_only_the_variables_of_the_spec_are_used() {
        let access = Access::of_pod(Some("BROKERS, AWS_SECRET_ACCESS_KEY,"), "/tmp".into());
        for name in ["BROKERS", "AWS_SECRET_ACCESS_KEY"] {
            assert!(access.has_variable(name), "{name}");
        }
        for name in [
            "AWS_SESSION_TOKEN",
            "PATH",
            "STREAMKEEPER_VARIABLES",
            "",
            ",",
        ] {
            assert!(!access.has_variable(name), "{name}");
        }
        assert!(!Access::of_pod(Some(""), "/tmp".into()).has_variable(""));
    }

    #[test]
    fn secrets_of_a_process_are_used_nowhere_unless_they_are_named() {
        for access in [Access::local(), Access::of_pod(None, "/tmp".into())] {
            assert!(access.has_variable("BROKERS"));
            for name in [
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
                "STREAMKEEPER_TLS_FOLDER",
            ] {
                assert!(!access.has_variable(name), "{name}");
            }
        }
    }

    #[test]
    fn files_of_a_pod_are_those_of_its_scratch_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().display();
        let access = Access::of_pod(Some(""), scratch.path().to_owned());
        for path in [
            format!("file://{at}/in"),
            format!("{at}/in"),
            "s3://bucket/../x".to_owned(),
        ] {
            assert_eq!(access.objection_to_path(&path), None, "{path}");
        }
        for path in [
            "file:///proc/self/environ".to_owned(),
            "/proc/self/environ".to_owned(),
            " file:/proc/self/environ".to_owned(),
            "FILE:///proc/self/environ".to_owned(),
            format!("file://{at}/../x"),
            "file:///".to_owned(),
        ] {
            assert!(access.objection_to_path(&path).is_some(), "{path}");
        }
        assert_eq!(Access::local().objection_to_path("/etc/passwd"), None);
    }
}
