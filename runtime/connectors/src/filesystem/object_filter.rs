//! Which objects belong to the table.

use streamkeeper_storage::ObjectMeta;

use super::options::FileOptions;

/// Where objects are, and which of them count.
#[derive(Debug, Clone)]
pub(super) struct ObjectFilter {
    /// Key of the one object, or what keys start with before a slash.
    prefix: String,
    options: FileOptions,
}

impl ObjectFilter {
    /// The filter of a table whose path has this key in its store.
    pub(super) fn new(key: &str, options: FileOptions) -> Self {
        Self {
            prefix: key.trim_end_matches('/').to_owned(),
            options,
        }
    }

    /// What to list.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What follows the path in a key that is the path or below it.
    fn below<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || self.prefix.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Whether an object is input. As in Flink, names that start with a point or an underscore are
    /// hidden, with everything below them.
    pub(super) fn holds(&self, object: &ObjectMeta) -> bool {
        let Some(rest) = self.below(&object.key) else {
            return false;
        };
        let hidden = rest
            .split('/')
            .any(|part| part.starts_with('.') || part.starts_with('_'));
        let folder = object.key.ends_with('/');
        let matches = self.options.pattern.as_ref().is_none_or(|pattern| {
            let slash = if rest.is_empty() || rest.starts_with('/') {
                ""
            } else {
                "/"
            };
            pattern.is_match(&format!("{}{slash}{rest}", self.options.absolute_path()))
        });
        !hidden && !folder && matches
    }
}
