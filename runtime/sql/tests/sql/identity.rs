//! State is found again by identity: what may change in a query and keeps its state, and what
//! starts another.

use std::collections::BTreeMap;

use streamkeeper_protocol::{
    compatibility::catalog,
    plan::{Operator, StreamPlan},
};

use crate::connectors::compiled;

const TABLES: &str = "CREATE TABLE t (id BIGINT, place STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE u (id BIGINT, place STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE o (place STRING, n BIGINT) WITH ('connector' = 'print');
CREATE TABLE o2 (place STRING, n BIGINT) WITH ('connector' = 'print');
";
const GROUPED: &str = "INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place";
const WINDOWED: &str = "INSERT INTO o SELECT place, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, place";

fn plan(text: &str) -> StreamPlan {
    compiled(&format!("{TABLES}{text}")).plan
}

/// Identities of the aggregations of a job, with those of their aggregates.
fn aggregations(text: &str) -> BTreeMap<String, Vec<String>> {
    let plan = plan(text);
    let states = catalog(&plan);
    let aggregations = plan.nodes.iter().filter(|node| {
        matches!(
            node.operator,
            Operator::GroupAggregate { .. } | Operator::WindowAggregate(_)
        ) && states.iter().any(|state| state.state_uid == node.state_uid)
    });
    aggregations
        .map(|node| {
            let calls = match &node.operator {
                Operator::GroupAggregate { aggregates, .. } => aggregates,
                Operator::WindowAggregate(window) => &window.aggregates,
                _ => unreachable!("filtered above"),
            };
            (
                node.state_uid.clone(),
                calls.iter().map(|call| call.uid.clone()).collect(),
            )
        })
        .collect()
}

/// Identities of everything that keeps state.
fn states(text: &str) -> Vec<String> {
    let mut states: Vec<String> = catalog(&plan(text))
        .into_iter()
        .map(|state| state.state_uid)
        .collect();
    states.sort();
    states
}

#[test]
fn what_does_not_change_the_question_keeps_the_state() {
    for (grouped, why) in [
        (
            "INSERT INTO o SELECT place, COUNT(*) FROM t WHERE n > 0 GROUP BY place",
            "an added filter",
        ),
        (
            "INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place HAVING COUNT(*) > 1",
            "an added HAVING",
        ),
        (
            "INSERT INTO o SELECT UPPER(place), COUNT(*) + 1 FROM t GROUP BY place",
            "computing with the result",
        ),
        (
            "INSERT INTO o SELECT x.place, COUNT(*) AS c FROM t AS x GROUP BY x.place",
            "other names",
        ),
        (
            "INSERT INTO o SELECT place, COUNT(*) FROM (SELECT place, ts FROM t) GROUP BY place",
            "a subquery",
        ),
        (
            "CREATE VIEW v AS SELECT place AS p FROM t; INSERT INTO o SELECT p, COUNT(*) FROM v GROUP BY p",
            "a view that passes the key on",
        ),
        (
            "SET 'table.exec.source.idle-timeout' = '1 s'; INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place",
            "a setting",
        ),
        (
            "INSERT INTO o2 SELECT place, COUNT(*) FROM u GROUP BY place; INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place",
            "another statement before it",
        ),
        (
            "CREATE VIEW unused AS SELECT place, COUNT(*) AS n FROM t GROUP BY place; INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place",
            "a view that nothing reads",
        ),
    ] {
        let (was, is) = (aggregations(GROUPED), aggregations(grouped));
        let uid = was.keys().next().unwrap();
        assert_eq!(is.get(uid), was.get(uid), "{why}");
    }
}

#[test]
fn an_added_aggregate_does_not_change_the_others() {
    for (was, more) in [
        (
            GROUPED,
            "INSERT INTO o SELECT place, COUNT(*) + MAX(n) FROM t GROUP BY place",
        ),
        (
            WINDOWED,
            "INSERT INTO o SELECT place, MAX(n) + COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY place, window_end, window_start",
        ),
    ] {
        let (was, is) = (aggregations(was), aggregations(more));
        let (uid, calls) = was.iter().next().unwrap();
        let kept = is.get(uid).expect("the aggregation keeps its identity");
        assert_eq!(kept.len(), 2);
        assert!(calls.iter().all(|call| kept.contains(call)));
    }
}

#[test]
fn an_added_column_of_the_table_or_the_sink_keeps_every_state() {
    let before = states(GROUPED);
    let more = TABLES
        .replace("id BIGINT,", "id BIGINT, added STRING,")
        .replace("n BIGINT)", "n BIGINT, more STRING)");
    let text = GROUPED.replace("INTO o ", "INTO o (place, n) ");
    let mut after: Vec<String> = catalog(&compiled(&format!("{more}{text}")).plan)
        .into_iter()
        .map(|state| state.state_uid)
        .collect();
    after.sort();
    assert_eq!(before, after);
}

#[test]
fn keys_in_another_order_are_the_same_keys() {
    let one = aggregations("INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place, n");
    let other = aggregations("INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY n, place");
    assert_eq!(one, other);
}

#[test]
fn another_query_has_another_state() {
    let uids = |text: &str| aggregations(text).into_keys().collect::<Vec<_>>();
    for (grouped, why) in [
        (
            "INSERT INTO o SELECT place, COUNT(*) FROM t GROUP BY place, n",
            "an added key",
        ),
        (
            "INSERT INTO o SELECT MAX(place), COUNT(*) FROM t GROUP BY n",
            "another key",
        ),
        (
            "INSERT INTO o SELECT UPPER(place), COUNT(*) FROM t GROUP BY UPPER(place)",
            "a computed key",
        ),
        ("INSERT INTO o SELECT MAX(place), COUNT(*) FROM t", "no key"),
        (
            "INSERT INTO o SELECT place, COUNT(*) FROM u GROUP BY place",
            "another table",
        ),
        (
            "INSERT INTO o SELECT place, COUNT(*) FROM (SELECT * FROM t UNION ALL SELECT * FROM u) GROUP BY place",
            "one more table",
        ),
        (WINDOWED, "a window"),
    ] {
        assert_ne!(uids(grouped), uids(GROUPED), "{why}");
    }
    for (windowed, why) in [
        (WINDOWED.replace("'1' HOUR", "'2' HOUR"), "another size"),
        (
            WINDOWED.replace("'1' HOUR", "'1' HOUR, INTERVAL '5' MINUTE"),
            "an offset",
        ),
        (
            WINDOWED
                .replace("TUMBLE", "HOP")
                .replace("'1' HOUR", "'30' MINUTE, INTERVAL '1' HOUR"),
            "a slide",
        ),
        (WINDOWED.replace("TABLE t", "TABLE u"), "another table"),
        (WINDOWED.replace(", place", ", place, n"), "an added key"),
    ] {
        let (was, is) = (uids(WINDOWED), uids(&windowed));
        assert_eq!((was.len(), is.len()), (1, 1), "{windowed}");
        assert_ne!(was, is, "{why}");
    }
}

#[test]
fn another_aggregate_is_another_accumulator() {
    let call = |text: &str| {
        let text = format!("INSERT INTO o SELECT place, {text} FROM t GROUP BY place");
        aggregations(&text).into_values().next().unwrap().remove(0)
    };
    let calls = [
        "COUNT(*)",
        "COUNT(n)",
        "COUNT(DISTINCT n)",
        "COUNT(id)",
        "COUNT(*) FILTER (WHERE n > 1)",
        "COUNT(*) FILTER (WHERE n > 2)",
        "SUM(n)",
        "SUM(id)",
        "SUM(n + 1)",
        "SUM(CAST(n AS BIGINT))",
        "MIN(n)",
        "MAX(n)",
        "AVG(n)",
    ];
    let uids: Vec<String> = calls.iter().map(|text| call(text)).collect();
    for (index, uid) in uids.iter().enumerate() {
        let same = uids.iter().position(|other| other == uid);
        assert_eq!(same, Some(index), "{}", calls[index]);
    }
    assert_eq!(
        call("MAX(DISTINCT n)"),
        call("MAX(n)"),
        "the largest of distinct values is the largest"
    );
}

#[test]
fn the_same_query_into_two_sinks_keeps_two_states() {
    let both = format!("{GROUPED}; {}", GROUPED.replace("INTO o ", "INTO o2 "));
    assert_eq!(aggregations(&both).len(), 2);
    let swapped = format!("{}; {GROUPED}", GROUPED.replace("INTO o ", "INTO o2 "));
    assert_eq!(
        aggregations(&both),
        aggregations(&swapped),
        "their order does not matter"
    );
}

#[test]
fn a_view_read_twice_is_computed_once() {
    let text = "CREATE VIEW counted AS SELECT place, COUNT(*) AS n FROM t GROUP BY place;
INSERT INTO o SELECT place, n FROM counted; INSERT INTO o2 SELECT place, n + 1 FROM counted;";
    assert_eq!(aggregations(text).len(), 1);
}

#[test]
fn identities_are_stored_with_checkpoints_and_never_change() {
    let uids = |text: &str| aggregations(text).into_iter().next().unwrap();
    assert_eq!(
        uids(GROUPED),
        (
            "b749bb97fae8be1d".to_owned(),
            vec!["0bc1d1f2a1fd7db5".to_owned()]
        )
    );
    assert_eq!(
        uids(WINDOWED),
        (
            "0c52dc19e09e019d".to_owned(),
            vec!["0bc1d1f2a1fd7db5".to_owned()]
        )
    );
}
