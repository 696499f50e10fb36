use streamkeeper_protocol::{
    expr::Function as F,
    types::DataType::{Boolean, Int},
};

use super::*;

const STRING: DataType = DataType::STRING;

fn of(function: F, args: &[Expr]) -> Expr {
    call(function, args, STRING)
}

#[test]
fn texts_are_cut_and_joined_as_in_flink() {
    check(vec![
        (of(F::Substring, &[text("abc"), int(0), int(2)]), "ab"),
        (of(F::Substring, &[text("abc"), int(2)]), "bc"),
        (of(F::Substring, &[text("abc"), int(1), int(1)]), "a"),
        (of(F::Substring, &[text("abc"), int(-2), int(1)]), "b"),
        (of(F::Substring, &[text("abc"), int(-5), int(3)]), ""),
        (of(F::Substring, &[text("abc"), int(9)]), ""),
        (of(F::Substring, &[text("abc"), int(1), int(-1)]), NULL),
        (of(F::Substring, &[text("größe"), int(3), int(2)]), "öß"),
        (of(F::Concat, &[text("a"), text("b"), text("c")]), "abc"),
        (of(F::Concat, &[text("a"), null(STRING)]), NULL),
        (
            of(
                F::ConcatWs,
                &[text(","), text("a"), null(STRING), text("c")],
            ),
            "a,c",
        ),
        (
            of(F::ConcatWs, &[text(","), text("a"), null(DataType::Null)]),
            "a",
        ),
        (of(F::ConcatWs, &[null(STRING), text("a")]), NULL),
        (of(F::Upper, &[text("größe")]), "GRÖSSE"),
        (of(F::Lower, &[text("ABC")]), "abc"),
        (of(F::Trim, &[text("  a b ")]), "a b"),
        (of(F::Trim, &[text("xxaxyx"), text("xy")]), "a"),
        (of(F::TrimLeading, &[text("xxax"), text("x")]), "ax"),
        (of(F::TrimTrailing, &[text("xxax"), text("x")]), "xxa"),
        (
            of(F::Replace, &[text("banana"), text("an"), text("x")]),
            "bxxa",
        ),
        (of(F::SplitIndex, &[text("a,b,,c"), text(","), int(2)]), ""),
        (of(F::SplitIndex, &[text("a,b,,c"), text(","), int(3)]), "c"),
        (of(F::SplitIndex, &[text("a,b"), text(","), int(2)]), NULL),
        (of(F::SplitIndex, &[text("a,b"), text(","), int(-1)]), NULL),
        (of(F::SplitIndex, &[text(""), text(","), int(0)]), NULL),
        (call(F::CharLength, &[text("größe")], Int), "5"),
        (call(F::Position, &[text("ß"), text("größe")], Int), "4"),
        (call(F::Position, &[text("x"), text("abc")], Int), "0"),
        (call(F::Position, &[text(""), text("abc")], Int), "1"),
        (call(F::Position, &[null(STRING), text("abc")], Int), NULL),
    ]);
}

#[test]
fn like_knows_only_percent_and_underscore() {
    check(vec![
        (call(F::Like, &[text("abc"), text("a%")], Boolean), "true"),
        (call(F::Like, &[text("abc"), text("_b_")], Boolean), "true"),
        (call(F::Like, &[text("abc"), text("b%")], Boolean), "false"),
        (call(F::Like, &[text("a.c"), text("a.c")], Boolean), "true"),
        (
            call(F::Like, &[text("50%"), text("50#%"), text("#")], Boolean),
            "true",
        ),
        (
            call(F::Like, &[text("500"), text("50#%"), text("#")], Boolean),
            "false",
        ),
        (call(F::Like, &[null(STRING), text("a%")], Boolean), NULL),
        (call(F::Like, &[text("a"), null(STRING)], Boolean), NULL),
    ]);
    check_fails(vec![
        (
            call(F::Like, &[text("a"), text("#a"), text("#")], Boolean),
            "must stand before",
        ),
        (
            call(F::Like, &[text("a"), text("a"), text("##")], Boolean),
            "must be one character",
        ),
    ]);
}
