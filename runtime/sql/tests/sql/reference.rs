//! The examples of `docs/sql.md` compile.

use crate::{connectors::compiled, golden, plans};

const DOCUMENT: &str = "../../../docs/sql.md";

/// What stands between ```` ```sql ```` and ```` ``` ````.
fn examples(document: &str) -> Vec<&str> {
    let blocks = document.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_example_compiles_beside_the_first_one() {
    let document = golden::read(DOCUMENT);
    let examples = examples(&document);
    let (tables, rest) = examples.split_first().expect("the document has examples");
    assert!(rest.len() >= 5, "{} examples", rest.len());
    for example in rest {
        assert!(
            example.contains("INSERT INTO"),
            "an example runs:\n{example}"
        );
        plans::check(&compiled(&format!("{tables}{example}")).plan);
    }
}
