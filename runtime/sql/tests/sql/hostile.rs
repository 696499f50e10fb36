//! No text breaks the front end: not by depth, not by length, not by nonsense. It returns a plan,
//! or errors whose positions lie in the text.

use std::thread;

use proptest::prelude::*;
use streamkeeper_sql::{SqlError, compile, explain};

use crate::{connectors::Known, golden, plans};

const TABLES: &str = "CREATE TABLE t (a INT, s STRING, b BOOLEAN, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE o (r INT) WITH ('connector' = 'print');
CREATE TABLE texts (r STRING) WITH ('connector' = 'print');
";

/// Half of what a thread has by default.
const STACK: usize = 1 << 20;

fn errors_of(text: String) -> Vec<SqlError> {
    let compiling =
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || match compile(&text, &Known) {
                Ok(_) => Vec::new(),
                Err(errors) => errors,
            });
    compiling
        .unwrap()
        .join()
        .expect("compiling neither panics nor exhausts the stack")
}

fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn nesting_without_end_is_an_error() {
    for depth in [61, 1_000, 10_000] {
        let expressions = [
            nested("(", "a", ")", depth),
            nested("ABS(", "a", ")", depth),
            nested("CAST(", "a", " AS INT)", depth),
            nested("CASE WHEN b THEN 1 ELSE ", "a", " END", depth),
            nested("- ", "a", "", depth),
            nested("[", "a", "]", depth),
            format!("CAST(s AS {})", nested("ARRAY<", "INT", ">", depth)),
        ];
        let queries = expressions
            .into_iter()
            .map(|expression| format!("SELECT {expression} FROM t"));
        let queries = queries.chain([
            format!("SELECT a FROM t WHERE {}", nested("NOT ", "b", "", depth)),
            format!("SELECT a FROM {}", nested("(", "t", ")", depth)),
            format!(
                "SELECT a FROM {}",
                nested("(SELECT a FROM ", "t", ")", depth)
            ),
            nested("(", "SELECT a FROM t", ")", depth),
        ]);
        for query in queries {
            let errors = errors_of(format!("{TABLES}INSERT INTO o {query}"));
            let message = &errors.first().expect("it is refused").message;
            let refusals = ["nests too deeply", "is too large"];
            assert!(
                refusals.iter().any(|refusal| message.contains(refusal)),
                "{message}"
            );
            assert_eq!((errors.len(), errors[0].line), (1, 4));
        }
    }
}

#[test]
fn chains_of_operators_compile_or_are_too_long() {
    let condition = |count| {
        format!(
            "INSERT INTO o SELECT a FROM t WHERE b{}",
            " AND b OR b".repeat(count)
        )
    };
    let sum = |count| format!("INSERT INTO o SELECT a{} FROM t", " + a".repeat(count));
    let union = |count| {
        format!(
            "INSERT INTO o SELECT a FROM t{}",
            " UNION ALL SELECT a FROM t".repeat(count)
        )
    };
    let text = |count| format!("INSERT INTO texts SELECT s{} FROM t", " || s".repeat(count));
    for (short, long) in [
        (condition(900), condition(10_000)),
        (sum(20), sum(1_000)),
        (sum(20), sum(10_000)),
        (union(500), union(10_000)),
        (text(900), text(10_000)),
    ] {
        assert_eq!(errors_of(format!("{TABLES}{short}")), []);
        let errors = errors_of(format!("{TABLES}{long}"));
        let message = &errors.first().expect("it is refused").message;
        assert!(
            message.contains("too large") || message.contains("too deeply"),
            "{message}"
        );
    }
}

#[test]
fn views_that_double_an_expression_each_time_stay_small() {
    let views = (1..100).map(|depth| {
        format!(
            "CREATE VIEW v{depth} AS SELECT a + a AS a, s || s AS s FROM v{}",
            depth - 1
        )
    });
    let views: Vec<String> = views.collect();
    let text = format!(
        "{TABLES}CREATE VIEW v0 AS SELECT a, s FROM t;\n{};\nINSERT INTO o SELECT a FROM v99; INSERT INTO texts SELECT s FROM v99;",
        views.join(";\n")
    );
    let plan = compile(&text, &Known).unwrap().plan;
    plans::check(&plan);
    assert!(serde_json::to_vec(&plan).unwrap().len() < 1_000_000);
}

#[test]
fn a_plan_too_deep_to_run_is_refused_with_its_place() {
    let text = |depth: usize| {
        let views: Vec<String> = (1..=depth)
            .map(|view| {
                format!(
                    "CREATE VIEW v{view} AS SELECT DISTINCT a FROM v{};",
                    view - 1
                )
            })
            .collect();
        format!(
            "{TABLES}CREATE VIEW v0 AS SELECT a FROM t;\n{}\nINSERT INTO o SELECT a FROM v{depth};",
            views.join("\n")
        )
    };
    // Beside the aggregations there are the source, its watermarks, two calculations and the sink.
    assert_eq!(errors_of(text(490)), []);
    for depth in [510, 1_100, 3_000] {
        let errors = errors_of(text(depth));
        let error = errors.first().expect("it is refused");
        assert!(error.message.contains("the plan is too deep"), "{error}");
        assert_eq!(errors.len(), 1);
        assert!((495..=506).contains(&error.line), "{error}");
    }
}

/// What texts are made of, and some of what they are not.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "UNION ALL",
    "INSERT INTO",
    "CREATE TABLE",
    "CREATE VIEW",
    "AS",
    "WITH",
    "SET",
    "BEGIN",
    "END",
    "EXECUTE STATEMENT SET BEGIN",
    "BEGIN STATEMENT SET",
    "JOIN",
    "ON",
    "ORDER BY",
    "LIMIT",
    "DISTINCT",
    "TABLE",
    "TUMBLE",
    "HOP",
    "SESSION",
    "DESCRIPTOR",
    "INTERVAL",
    "DAY",
    "HOUR",
    "SECOND",
    "WATERMARK FOR",
    "PRIMARY KEY",
    "NOT ENFORCED",
    "NOT",
    "NULL",
    "AND",
    "OR",
    "IS",
    "IN",
    "LIKE",
    "BETWEEN",
    "ESCAPE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "CAST",
    "TRY_CAST",
    "EXTRACT",
    "YEAR",
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "FILTER",
    "OVER",
    "COALESCE",
    "TRIM",
    "BOTH",
    "SUBSTRING",
    "FOR",
    "POSITION",
    "INT",
    "STRING",
    "DECIMAL",
    "TIMESTAMP",
    "BOOLEAN",
    "ROW",
    "ARRAY",
    "MAP",
    "a",
    "b",
    "s",
    "ts",
    "t",
    "o",
    "texts",
    "window_start",
    "window_end",
    "r",
    "`a`",
    "\"a\"",
    "'a'",
    "'1'",
    "''",
    "'",
    "`",
    "1",
    "0",
    "1.5",
    "1e3",
    "99999999999999999999",
    "(",
    "(",
    ")",
    ")",
    ",",
    ",",
    ";",
    ";",
    "*",
    "+",
    "-",
    "/",
    "%",
    "=",
    "<>",
    "<",
    ">=",
    "||",
    ".",
    "=>",
    "[",
    "]",
    "<",
    ">",
    "--",
    "/*",
    "*/",
    "/*+",
    "\n",
    "ß",
    "\u{1F6EB}",
    "\0",
    "DATE '2024-01-01'",
    "'connector' = 'datagen'",
];

/// Compiles and checks what holds for every result.
fn answer(text: &str) -> Result<(), TestCaseError> {
    match compile(text, &Known) {
        Ok(compiled) => {
            plans::check(&compiled.plan);
            explain(&compiled.plan);
            let stored = serde_json::to_vec(&compiled.plan).unwrap();
            let read = serde_json::from_slice(&stored)
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(compiled.plan, read);
        }
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            for error in errors {
                let line = text
                    .split('\n')
                    .nth(usize::try_from(error.line).unwrap() - 1);
                let length = line.map(|line| line.chars().count() as u64);
                prop_assert!(
                    length.is_some_and(|length| (1..=length + 1).contains(&error.column)),
                    "{error} is not in the text"
                );
                prop_assert!(!error.message.is_empty(), "an error says what is wrong");
            }
        }
    }
    Ok(())
}

fn words(count: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(WORDS), 0..count)
}

/// A change of a text, in words.
#[derive(Debug, Clone)]
enum Change {
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Replace(prop::sample::Index, &'static str),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        place().prop_map(Change::Remove),
        place().prop_map(Change::Repeat),
        (place(), place()).prop_map(|(a, b)| Change::Swap(a, b)),
        (place(), prop::sample::select(WORDS)).prop_map(|(at, word)| Change::Replace(at, word)),
        place().prop_map(Change::Cut),
    ]
}

/// Words, signs and white space, one by one.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for letter in text.chars() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        match pieces.last_mut() {
            Some(last) if is_word(letter) && last.chars().all(is_word) => last.push(letter),
            _ => pieces.push(letter.to_string()),
        }
    }
    pieces
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut pieces = pieces(text);
    for change in changes {
        let length = pieces.len().max(1);
        pieces.resize(length, String::new());
        match change {
            Change::Remove(at) => drop(pieces.remove(at.index(length))),
            Change::Repeat(at) => pieces.insert(at.index(length), pieces[at.index(length)].clone()),
            Change::Swap(a, b) => pieces.swap(a.index(length), b.index(length)),
            Change::Replace(at, word) => (*word).clone_into(&mut pieces[at.index(length)]),
            Change::Cut(at) => pieces.truncate(at.index(length)),
        }
    }
    pieces.concat()
}

proptest! {
    #[test]
    fn any_text_yields_a_plan_or_errors(text in any::<String>()) {
        answer(&text)?;
    }

    #[test]
    fn words_in_any_order_get_an_answer(words in words(40)) {
        answer(&words.join(" "))?;
        answer(&format!("{TABLES}INSERT INTO o {}", words.join(" ")))?;
        answer(&format!("{TABLES}INSERT INTO o SELECT {} FROM t", words.join(" ")))?;
        answer(&format!("{TABLES}INSERT INTO o SELECT a FROM t WHERE {}", words.join(" ")))?;
        answer(&format!("CREATE TABLE t ({}) WITH ('connector' = 'datagen')", words.join(" ")))?;
    }

    #[test]
    fn jobs_with_mistakes_yield_errors(
        name in prop::sample::select(&["tables", "expressions", "windows", "groups", "unions"]),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        answer(&changed(&golden::read(&format!("plans/{name}.sql")), &changes))?;
    }
}
