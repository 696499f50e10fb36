//! Label selectors, as far as they are equalities: `a=b,c==d,e!=f`.

use serde_json::Value;

/// What an object's labels must be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<(String, String, bool)>);

impl Selector {
    /// Reads a selector; anything but equalities is an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms = text.split(',').filter(|term| !term.is_empty()).map(|term| {
            let (key, value, wanted) = if let Some((key, value)) = term.split_once("!=") {
                (key, value, false)
            } else if let Some((key, value)) =
                term.split_once("==").or_else(|| term.split_once('='))
            {
                (key, value, true)
            } else {
                return Err(format!(
                    "label selector `{term}` is not simulated: only equalities are"
                ));
            };
            Ok((key.to_owned(), value.to_owned(), wanted))
        });
        terms.collect::<Result<_, _>>().map(Self)
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object["metadata"]["labels"]
                .get(key)
                .and_then(Value::as_str)
        };
        self.0
            .iter()
            .all(|(key, value, wanted)| (label(key) == Some(value)) == *wanted)
    }
}
