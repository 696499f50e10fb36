//! What is refused, and where. In every text `☞` stands before the place that the error names.

use streamkeeper_sql::compile;

use crate::connectors::{Known, listed, refused};

const TABLES: &str = "CREATE TABLE t (id BIGINT NOT NULL, name STRING, n INT, price DECIMAL(10, 2), ok BOOLEAN, bytes BYTES, day DATE, clock TIME, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE plain (id BIGINT, ts TIMESTAMP(3)) WITH ('connector' = 'datagen');
CREATE VIEW counted AS SELECT name, COUNT(*) AS n FROM t GROUP BY name;
CREATE TABLE o (r BIGINT) WITH ('connector' = 'print');
";

/// What is wrong with the result for a marked text: it should be one error, at the mark, with these
/// words in message or hint.
fn complaint(before: &str, marked: &str, words: &str) -> Option<String> {
    let Some((start, _)) = marked.split_once('☞') else {
        return Some(format!("no mark: {marked}\n"));
    };
    let start = format!("{before}{start}");
    let line = start.matches('\n').count() as u64 + 1;
    let column = start.rsplit('\n').next().unwrap_or("").chars().count() as u64 + 1;
    match compile(&format!("{before}{}", marked.replace('☞', "")), &Known) {
        Ok(_) => Some(format!("{marked}\n  compiles\n")),
        Err(errors) => {
            let fits = errors.len() == 1
                && (errors[0].line, errors[0].column) == (line, column)
                && errors[0].to_string().contains(words);
            (!fits).then(|| {
                format!(
                    "{marked}\n  expected line {line}:{column}: … {words} …\n  got      {}",
                    listed(&errors)
                )
            })
        }
    }
}

fn check_all(before: &str, cases: &[(&str, &str)]) {
    let complaints: String = cases
        .iter()
        .filter_map(|(marked, words)| complaint(before, marked, words))
        .collect();
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn unsupported_statements_are_refused() {
    check_all(
        "",
        &[
            (
                "☞SELECT 1;",
                "the statement SELECT is not supported; a job writes its result",
            ),
            (
                "☞WITH a AS (SELECT 1) SELECT * FROM a",
                "put INSERT INTO before the query",
            ),
            (
                "☞DROP TABLE t;",
                "the statement DROP is not supported; every job starts from its own text",
            ),
            ("☞ALTER TABLE t ADD c INT;", "change the CREATE statement"),
            ("☞USE CATALOG c;", "leave it out"),
            (
                "☞CREATE FUNCTION f AS 'a.B';",
                "user-defined functions are not supported",
            ),
            (
                "☞CREATE TEMPORARY SYSTEM FUNCTION f AS 'a.B';",
                "not supported",
            ),
            (
                "☞CREATE CATALOG c WITH ('type' = 'jdbc');",
                "declare the tables with CREATE TABLE",
            ),
            (
                "☞CREATE OR REPLACE TABLE t (a INT);",
                "there is nothing to replace",
            ),
            (
                "☞EXPLAIN SELECT 1;",
                "`streamjob-runtime check` prints the plan",
            ),
            ("☞DELETE FROM t;", "use INSERT INTO"),
            ("☞UPDATE t SET a = 1;", "use INSERT INTO"),
            ("☞ADD JAR 'x.jar';", "jars cannot be loaded"),
            (
                "☞SHOW TABLES;",
                "the statement SHOW TABLES is not supported; supported are CREATE TABLE",
            ),
            ("☞RESET 'a';", "not supported"),
            ("☞ANALYZE TABLE t COMPUTE STATISTICS;", "not supported"),
            ("☞EXECUTE PLAN 'x';", "not supported"),
            (
                "☞COMPILE PLAN 'x' FOR INSERT INTO o SELECT 1;",
                "not supported",
            ),
            ("☞42;", "a statement is expected here"),
            ("☞", "the text has no INSERT INTO"),
            ("☞-- only a comment", "there is nothing to run"),
            ("☞;;", "there is nothing to run"),
            ("☞END;", "there is no open STATEMENT SET here"),
        ],
    );
}

#[test]
fn texts_that_are_cut_off_or_misspelt() {
    check_all(
        "",
        &[
            (
                "CREATE TABLE t (a STRING) WITH ('connector' = ☞'datagen);",
                "unterminated string literal",
            ),
            (
                "INSERT INTO o SELECT 'it''s' || ☞'open FROM t",
                "unterminated string literal",
            ),
            ("CREATE TABLE ☞`t (a INT)", "expected close delimiter"),
            (
                "INSERT INTO o SELECT 1 /* no end☞",
                "the text ends within a comment",
            ),
            ("CREATE TABLE t ☞(a INT", "this parenthesis is not closed"),
            ("CREATE TABLE t ☞a INT", "expected '(', found 'a'"),
            (
                "CREATE TABLE t (a☞) WITH ('connector' = 'datagen')",
                "expected a data type name, found ')'",
            ),
            (
                "CREATE TABLE t (a INT, ☞) WITH ('connector' = 'datagen')",
                "expected a column name, found ')'",
            ),
            (
                "CREATE TABLE t (a INT) ☞;",
                "expected WITH ('connector' = '…'), found the end of the statement",
            ),
            (
                "CREATE TABLE t (a INT) WITH (☞connector = 'datagen');",
                "expected an option in single quotes, found 'connector'",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' ☞'datagen');",
                "expected '=', found ''datagen''",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = ☞datagen);",
                "expected a value in single quotes",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen') ☞nonsense;",
                "expected the end of the statement, found 'nonsense'",
            ),
            (
                "SET ☞parallelism = '1';",
                "expected the name of a setting in single quotes",
            ),
            ("SET 'a' = ☞1;", "expected the value in single quotes"),
            ("SET 'a' ☞'b';", "expected '='"),
            ("INSERT ☞o SELECT 1", "expected INTO, found 'o'"),
            (
                "INSERT ☞OVERWRITE o SELECT 1",
                "INSERT OVERWRITE is not supported",
            ),
            ("CREATE VIEW v ☞SELECT 1", "expected AS, found 'SELECT'"),
        ],
    );
}

#[test]
fn queries_that_are_cut_off_or_misspelt() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT id FROM t WHERE☞",
                "expected an expression, found the end of the statement",
            ),
            (
                "INSERT INTO o SELECT id FORM ☞t",
                "expected the end of the statement, found 't'",
            ),
            (
                "INSERT INTO o SELECT ☞(id FROM t",
                "this parenthesis is not closed",
            ),
            (
                "INSERT INTO o SELECT id + ☞FROM t",
                "expected an expression, found 'FROM'",
            ),
            (
                "INSERT INTO o SELECT id, ☞FROM t",
                "expected an expression, found 'FROM'",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE id = 1 AND ☞GROUP BY id",
                "expected an expression, found 'GROUP'",
            ),
            (
                "INSERT INTO o SELECT id☞) FROM t",
                "no parenthesis is open that this one could close",
            ),
            (
                "INSERT INTO o SELECT CASE WHEN ok THEN 1 ☞FROM t",
                "expected END, found 'FROM'",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞GROUP name",
                "expected the end of the statement, found 'GROUP'",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞(SELECT id FROM t",
                "this parenthesis is not closed",
            ),
        ],
    );
}

#[test]
fn clauses_of_a_query_that_are_not_supported() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT t.id FROM t ☞JOIN plain ON t.id = plain.id",
                "joins are not supported yet",
            ),
            (
                "INSERT INTO o SELECT t.id FROM t LEFT ☞JOIN plain ON t.id = plain.id",
                "joins are not supported yet",
            ),
            (
                "INSERT INTO o SELECT t.id FROM t CROSS ☞JOIN plain",
                "joins are not supported yet",
            ),
            (
                "INSERT INTO o SELECT t.id FROM t, ☞plain WHERE t.id = plain.id",
                "joins are not supported yet",
            ),
            (
                "INSERT INTO o SELECT t.id FROM t ☞JOIN plain FOR SYSTEM_TIME AS OF t.ts ON t.id = plain.id",
                "joins",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'",
                "FOR SYSTEM_TIME AS OF is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞ORDER BY id",
                "ORDER BY is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞LIMIT 10",
                "LIMIT is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞OFFSET 10",
                "OFFSET is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞FETCH FIRST 5 ROWS ONLY",
                "FETCH is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM (SELECT id FROM t ☞LIMIT 1)",
                "LIMIT is not supported",
            ),
            (
                "INSERT INTO o SELECT ROW_NUMBER() ☞OVER (PARTITION BY name ORDER BY ts) FROM t",
                "OVER is not supported",
            ),
            (
                "INSERT INTO o SELECT SUM(n) ☞OVER (ORDER BY ts) FROM t",
                "OVER is not supported",
            ),
            (
                "INSERT INTO o SELECT SUM(n) OVER w FROM t ☞WINDOW w AS (ORDER BY ts)",
                "WINDOW is not supported here",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞QUALIFY id > 1",
                "QUALIFY is not supported here",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞UNION SELECT id FROM plain",
                "UNION without ALL is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞INTERSECT SELECT id FROM plain",
                "INTERSECT is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞EXCEPT SELECT id FROM plain",
                "EXCEPT is not supported",
            ),
            ("INSERT INTO o ☞VALUES (1), (2)", "VALUES is not supported"),
            (
                "☞INSERT INTO o SELECT 1",
                "a query without FROM is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞UNNEST(ARRAY[1, 2])",
                "the table function UNNEST is not known",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞LATERAL (SELECT 1)",
                "LATERAL is not supported yet",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞MATCH_RECOGNIZE (ORDER BY ts MEASURES A.id AS id PATTERN (A) DEFINE A AS A.id > 1)",
                "MATCH_RECOGNIZE is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞MATCH_RECOGNIZE (ORDER BY ts MEASURES A.id AS id PATTERN (A B) WITHIN INTERVAL '1' SECOND DEFINE A AS A.id > 1)",
                "MATCH_RECOGNIZE is not supported",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY ☞ROLLUP (name)",
                "GROUPING SETS, CUBE or ROLLUP is not supported; write one INSERT INTO per grouping",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY ☞GROUPING SETS ((name), (id))",
                "GROUPING SETS",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY ☞CUBE (name, id)",
                "GROUPING SETS, CUBE or ROLLUP is not supported",
            ),
            (
                "INSERT INTO o SELECT ☞DISTINCT ON (name) id FROM t",
                "DISTINCT ON is not supported",
            ),
            (
                "INSERT INTO o ☞WITH RECURSIVE a AS (SELECT id FROM t) SELECT id FROM a",
                "WITH RECURSIVE is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞db.t",
                "names with a catalog or database",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞t TABLESAMPLE SYSTEM (10)",
                "only a plain table name can stand here",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞/*+ OPTIONS('a' = 'b') */",
                "hints are not supported",
            ),
        ],
    );
}

#[test]
fn expressions_that_are_not_supported() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT (☞SELECT MAX(id) FROM plain) FROM t",
                "a subquery in an expression is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞EXISTS (SELECT 1 FROM plain)",
                "a subquery in an expression is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞id IN (SELECT id FROM plain)",
                "IN with a subquery is not supported",
            ),
            (
                "INSERT INTO o SELECT ☞ARRAY[1, 2] FROM t",
                "a nested value is not supported",
            ),
            (
                "INSERT INTO o SELECT ☞ROW(1, 2) FROM t",
                "the function ROW is not known",
            ),
            (
                "INSERT INTO o SELECT (☞id, n) FROM t",
                "a row value is not supported",
            ),
            (
                "INSERT INTO o SELECT MAP['a'☞, 1] FROM t",
                "expected :, found ','",
            ),
            ("INSERT INTO o SELECT ☞name[1] FROM t", "nested"),
            (
                "INSERT INTO o SELECT ☞t.name.x FROM t",
                "a column is named by itself or as table.column",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞name SIMILAR TO 'a'",
                "SIMILAR TO is not supported; use LIKE",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞name ILIKE 'a'",
                "ILIKE is not supported; use LOWER(…) LIKE …",
            ),
            (
                "INSERT INTO o SELECT ☞CURRENT_TIMESTAMP FROM t",
                "after a failure it would give other values; use a time column of the record",
            ),
            (
                "INSERT INTO o SELECT ☞NOW() FROM t",
                "after a failure it would give other values",
            ),
            (
                "INSERT INTO o SELECT ☞UUID() FROM t",
                "after a failure it would give other values",
            ),
            (
                "INSERT INTO o SELECT ☞RAND() FROM t",
                "after a failure it would give other values",
            ),
            (
                "INSERT INTO o SELECT ☞LISTAGG(name) FROM t",
                "the aggregate function LISTAGG is not supported yet",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY ☞TUMBLE(ts, INTERVAL '1' HOUR)",
                "window a table in FROM",
            ),
            (
                "INSERT INTO o SELECT ☞id & 1 FROM t",
                "the operator & is not supported",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE name = ☞\"x\"",
                "double quotes are not supported",
            ),
            (
                "INSERT INTO o SELECT ☞X'ff' FROM t",
                "the constant X'ff' is not supported",
            ),
            (
                "INSERT INTO o SELECT id AS ☞\"r\" FROM t",
                "double quotes are not supported; quote names with backticks",
            ),
            (
                "INSERT INTO o SELECT id FROM t AS ☞\"u\"",
                "double quotes are not supported",
            ),
            (
                "INSERT INTO o SELECT 'a' ☞'b' FROM t",
                "expected the end of the statement, found ''b''",
            ),
            (
                "INSERT INTO o SELECT id FROM t ☞ALL",
                "expected the end of the statement, found 'ALL'",
            ),
            (
                "INSERT INTO o SELECT COUNT(TABLE ☞id) FROM t",
                "expected ), found 'id'",
            ),
            (
                "INSERT INTO o SELECT CAST(name AS MAP☞<STRING, INT>) FROM t",
                "expected ), found '<'",
            ),
        ],
    );
}

#[test]
fn unknown_names_are_refused() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT ☞idd FROM t",
                "there is no column 'idd'; did you mean id?",
            ),
            (
                "INSERT INTO o SELECT ☞NAME FROM t",
                "there is no column 'NAME'; did you mean name?",
            ),
            (
                "INSERT INTO o SELECT ☞something FROM t",
                "columns are id, name, n, price, ok, bytes, day, clock, ts",
            ),
            (
                "INSERT INTO o SELECT ☞x.id FROM t",
                "there is no table 'x' here; the table is called t",
            ),
            (
                "INSERT INTO o SELECT ☞t.id FROM t AS u",
                "the table is called u",
            ),
            (
                "INSERT INTO o SELECT ☞t.id FROM (SELECT id FROM t)",
                "give the subquery a name",
            ),
            (
                "INSERT INTO o SELECT ☞x.* FROM t",
                "there is no table 'x' here",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞prise > 1",
                "did you mean price?",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY ☞nam",
                "there is no column 'nam'; did you mean name",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞plan",
                "there is no table or view 'plan'; did you mean plain?",
            ),
            (
                "INSERT INTO o SELECT id FROM ☞orders",
                "there is no table or view 'orders'; declare it with CREATE TABLE before it is used",
            ),
            (
                "INSERT INTO ☞oo SELECT id FROM t",
                "there is no table or view 'oo'; did you mean o",
            ),
            (
                "INSERT INTO o (☞x) SELECT id FROM t",
                "the sink 'o' has no physical column 'x'",
            ),
            (
                "INSERT INTO o (r, ☞r) SELECT id, id FROM t",
                "the column 'r' is listed twice",
            ),
            (
                "INSERT INTO o SELECT ☞CHAR_LENGHT(name) FROM t",
                "the function CHAR_LENGHT is not known; did you mean CHAR_LENGTH?",
            ),
            (
                "INSERT INTO o SELECT ☞frobnicate(name) FROM t",
                "the function FROBNICATE is not known; docs/sql.md lists the functions",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞TUMBEL(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the table function TUMBEL is not known",
            ),
            (
                "INSERT INTO o SELECT ☞id FROM (SELECT id, n AS id FROM t) AS x",
                "the column 'id' is ambiguous",
            ),
        ],
    );
}

#[test]
fn values_of_the_wrong_type() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT ☞name + 1 FROM t",
                "+ cannot be applied to STRING and INT",
            ),
            (
                "INSERT INTO o SELECT ☞ok * 2 FROM t",
                "* cannot be applied to BOOLEAN and INT",
            ),
            (
                "INSERT INTO o SELECT ☞day + ts FROM t",
                "+ cannot be applied to DATE and TIMESTAMP(3)",
            ),
            (
                "INSERT INTO o SELECT ☞NULL + 1 FROM t",
                "cast the NULL to the type you mean",
            ),
            (
                "INSERT INTO o SELECT -☞name FROM t",
                "- needs a number, it got STRING",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞name > 1",
                "STRING cannot be compared with INT",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞ok = 1",
                "BOOLEAN cannot be compared with INT",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞n IN (1, 'a')",
                "INT cannot be compared with CHAR(1)",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE day = ☞'tomorrow'",
                "'tomorrow' is not a value of DATE; it is written 'yyyy-MM-dd'",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ts BETWEEN ☞'2024-02-30 00:00:00' AND '2024-03-01 00:00:00'",
                "is not a value of TIMESTAMP(3)",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ok = ☞'maybe'",
                "'maybe' is not a value of BOOLEAN",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞n",
                "WHERE must be a condition, it is of type INT",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ok AND ☞n",
                "an operand of AND must be a condition",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE NOT ☞name",
                "the operand of NOT must be a condition",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY name HAVING ☞COUNT(*)",
                "HAVING must be a condition",
            ),
            (
                "INSERT INTO o SELECT ☞CASE WHEN ok THEN 1 ELSE 'a' END FROM t",
                "the branches of CASE have no common type: INT, CHAR(1)",
            ),
            (
                "INSERT INTO o SELECT ☞COALESCE(n, name) FROM t",
                "the arguments of COALESCE have no common type: INT, STRING",
            ),
            (
                "INSERT INTO o SELECT CHAR_LENGTH(☞n) FROM t",
                "CHAR_LENGTH needs a text, it got INT; CAST it to STRING",
            ),
            (
                "INSERT INTO o SELECT ☞n || 'a' FROM t",
                "|| needs a text, it got INT",
            ),
            (
                "INSERT INTO o SELECT SUM(☞name) FROM t",
                "SUM cannot be applied to STRING; CAST it to a number",
            ),
            (
                "INSERT INTO o SELECT MIN(☞bytes) FROM t",
                "MIN cannot be applied to BYTES",
            ),
            (
                "INSERT INTO o SELECT COUNT(☞NULL) FROM t",
                "COUNT cannot be applied to NULL",
            ),
            (
                "INSERT INTO o SELECT ABS(☞name) FROM t",
                "ABS needs a number, it got STRING",
            ),
            (
                "INSERT INTO o SELECT ☞ABS(n, n) FROM t",
                "ABS takes 1 arguments, it got 2",
            ),
            (
                "INSERT INTO o SELECT ☞SUM(n, n) FROM t",
                "SUM takes one argument, it got 2",
            ),
            ("INSERT INTO o SELECT ☞SUM(*) FROM t", "only COUNT takes *"),
            (
                "INSERT INTO o SELECT ☞COUNT(DISTINCT *) FROM t",
                "only COUNT takes *, without DISTINCT or ALL",
            ),
            (
                "INSERT INTO o SELECT ☞UPPER(DISTINCT name) FROM t",
                "DISTINCT and ALL belong to aggregate functions",
            ),
            (
                "INSERT INTO o SELECT ☞UPPER(name) FILTER (WHERE ok) FROM t",
                "FILTER belongs to an aggregate function",
            ),
            (
                "INSERT INTO o SELECT YEAR(☞name) FROM t",
                "Year cannot be taken from STRING",
            ),
            (
                "INSERT INTO o SELECT EXTRACT(CENTURY FROM ☞ts) FROM t",
                "EXTRACT of CENTURY is not supported",
            ),
            (
                "INSERT INTO o SELECT CAST(☞ts AS BIGINT) FROM t",
                "TIMESTAMP(3) cannot be cast to BIGINT",
            ),
            (
                "INSERT INTO o SELECT CAST(☞n AS DATE) FROM t",
                "INT cannot be cast to DATE; there is no such conversion",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE DATE_FORMAT(ts, ☞'EEE') = 'Mon'",
                "'EEE' is not supported in a pattern; write yyyy",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE TO_TIMESTAMP(name, ☞name) > ts",
                "the pattern of TO_TIMESTAMP must be a constant",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE TO_DATE(name, ☞'yyyy''open') = day",
                "a quote is not closed",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE name LIKE ☞'a!b' ESCAPE '!'",
                "'!' must stand before %, _ or itself in the pattern",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE name LIKE 'a' ESCAPE ☞'!!'",
                "ESCAPE takes one character",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE CAST(☞price AS BOOLEAN)",
                "DECIMAL(10, 2) cannot be cast to BOOLEAN; write value <> 0",
            ),
            (
                "INSERT INTO o SELECT ☞n / 0 FROM t",
                "division by zero; use NULLIF(divisor, 0)",
            ),
            (
                "INSERT INTO o SELECT ☞99999999999999999999 FROM t",
                "the number 99999999999999999999 is out of range",
            ),
            (
                "INSERT INTO o SELECT EXTRACT(DAY FROM DATE ☞'2024-02-30') FROM t",
                "'2024-02-30' is not a date",
            ),
            (
                "INSERT INTO o SELECT ☞INTERVAL '5' DAY FROM t",
                "an interval cannot be a column",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ts > ts - INTERVAL ☞'soon' DAY",
                "'soon' is not an interval of DAY",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ts > ts - INTERVAL ☞'100' DAY",
                "has more than 2 digits; write DAY(3)",
            ),
            (
                "INSERT INTO o SELECT ☞NULL FROM t",
                "an untyped NULL cannot be a column",
            ),
            (
                "INSERT INTO o SELECT ☞name FROM t",
                "the query's column 1 'name' of type STRING does not fit the sink's column 'r' of type BIGINT; CAST it to BIGINT",
            ),
            (
                "INSERT INTO o SELECT ☞price FROM t",
                "of type DECIMAL(10, 2) does not fit",
            ),
            (
                "INSERT INTO ☞o SELECT id, n FROM t",
                "the query has 2 columns, the sink 'o' takes 1; query: id BIGINT, n INT; sink: r BIGINT",
            ),
            (
                "INSERT INTO o SELECT id FROM t UNION ALL ☞SELECT id, n FROM t",
                "different numbers of columns: 1 and 2",
            ),
            (
                "INSERT INTO o ☞SELECT id FROM t UNION ALL SELECT name FROM t",
                "column 1 of UNION ALL has no common type: BIGINT, STRING",
            ),
        ],
    );
}

#[test]
fn invalid_aggregations_are_refused() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT ☞id FROM t GROUP BY name",
                "the column 'id' is neither grouped by nor aggregated",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) + ☞id FROM t",
                "the column 'id' is neither grouped by nor aggregated",
            ),
            (
                "INSERT INTO o SELECT ☞* FROM t GROUP BY name",
                "neither grouped by nor aggregated",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY name HAVING ☞id > 1",
                "the column 'id' is neither grouped by nor aggregated",
            ),
            (
                "INSERT INTO o SELECT id FROM t WHERE ☞COUNT(*) > 1",
                "the aggregate function COUNT cannot stand in WHERE",
            ),
            (
                "INSERT INTO o SELECT 1 FROM t GROUP BY ☞SUM(n)",
                "the aggregate function SUM cannot stand in GROUP BY",
            ),
            (
                "INSERT INTO o SELECT SUM(☞COUNT(*)) FROM t",
                "the aggregate function COUNT cannot stand in another aggregate function",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM t GROUP BY ☞1",
                "GROUP BY does not take positions",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FILTER (WHERE ☞n) FROM t",
                "FILTER must be a condition",
            ),
        ],
    );
}

#[test]
fn windows_that_cannot_be() {
    check_all(
        TABLES,
        &[
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞SESSION(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "SESSION windows are not supported yet; supported are TUMBLE and HOP",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY)) GROUP BY window_start, window_end",
                "CUMULATE windows are not supported yet",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE plain, DESCRIPTOR(☞ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the column 'ts' is not a time attribute; windows need a column with WATERMARK FOR it",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(☞day), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the column 'day' is not a time attribute",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(☞tss), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "there is no column 'tss'; did you mean ts?",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, ☞ts, INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the time column is written DESCRIPTOR(name)",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ☞3600)) GROUP BY window_start, window_end",
                "SIZE must be an interval",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL ☞'1' MONTH)) GROUP BY window_start, window_end",
                "months differ in length",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL ☞'0' HOUR)) GROUP BY window_start, window_end",
                "the window's size must be positive",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL ☞'2' HOUR)) GROUP BY window_start, window_end",
                "the window's offset must be smaller than its size",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '7' MINUTE, INTERVAL ☞'1' HOUR)) GROUP BY window_start, window_end",
                "the size of a HOP window must be a multiple of its slide",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the window function's argument SIZE is missing",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' MINUTE, 5)) GROUP BY window_start, window_end",
                "too many arguments",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(DATA => TABLE t, ☞TIME => DESCRIPTOR(ts), SIZE => INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the window function has no argument TIME; its arguments are DATA, TIMECOL, SIZE, OFFSET",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE((☞SELECT * FROM t), DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "a window function takes a table or view by name",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY ☞window_start",
                "windows must be grouped by window_start and window_end",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
                "windows must be grouped by window_start and window_end",
            ),
            (
                "INSERT INTO o SELECT id FROM TABLE(☞TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
                "windows without an aggregation are not supported",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) WHERE ☞window_start > ts GROUP BY window_start, window_end",
                "window_start cannot be computed with before the aggregation",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, ☞DESCRIPTOR(DISTINCT ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "this form of calling DESCRIPTOR is not supported",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(☞TUMBLE(DISTINCT t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "this form of calling TUMBLE is not supported",
            ),
            (
                "INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE counted, DESCRIPTOR(☞n), INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
                "the column 'n' is not a time attribute",
            ),
        ],
    );
}

#[test]
fn invalid_tables_are_refused() {
    check_all(
        "",
        &[
            (
                "CREATE TABLE ☞t (a INT) WITH ('format' = 'json');",
                "the table 't' has no connector",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', ☞'connector' = 'print');",
                "the option 'connector' is given twice",
            ),
            (
                "CREATE TABLE t (a INT, ☞a STRING) WITH ('connector' = 'datagen');",
                "the column 'a' is declared twice",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); CREATE TABLE ☞t (a INT) WITH ('connector' = 'datagen');",
                "'t' is declared twice",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); CREATE VIEW ☞t AS SELECT a FROM t;",
                "'t' is declared twice",
            ),
            (
                "CREATE TABLE t (a ☞INTEGR) WITH ('connector' = 'datagen');",
                "the type INTEGR is not supported; supported are BOOLEAN",
            ),
            (
                "CREATE TABLE t (a ☞ROW<b INT>) WITH ('connector' = 'datagen');",
                "the nested type ROW is not supported yet",
            ),
            (
                "CREATE TABLE t (a ☞ARRAY<INT>) WITH ('connector' = 'datagen');",
                "the nested type ARRAY is not supported yet",
            ),
            (
                "CREATE TABLE t (a ☞MAP<STRING, INT>) WITH ('connector' = 'datagen');",
                "the nested type MAP is not supported yet",
            ),
            (
                "CREATE TABLE t (a ☞DECIMAL(39, 2)) WITH ('connector' = 'datagen');",
                "DECIMAL(39, 2) does not exist",
            ),
            (
                "CREATE TABLE t (a ☞TIMESTAMP(9)) WITH ('connector' = 'datagen');",
                "timestamps have at most microseconds",
            ),
            (
                "CREATE TABLE t (a ☞TIME(3)) WITH ('connector' = 'datagen');",
                "TIME has whole seconds",
            ),
            (
                "CREATE TABLE t (a ☞VARCHAR(0)) WITH ('connector' = 'datagen');",
                "out of range 1 to 2147483647",
            ),
            (
                "CREATE TABLE t (a ☞INT UNSIGNED) WITH ('connector' = 'datagen');",
                "not supported",
            ),
            (
                "CREATE TABLE t (a INT ☞METADATA) WITH ('connector' = 'datagen');",
                "the METADATA column 'a' is not supported",
            ),
            (
                "CREATE TABLE t (a INT ☞DEFAULT 5) WITH ('connector' = 'datagen');",
                "DEFAULT is not supported; use COALESCE in the query",
            ),
            (
                "CREATE TABLE t (a INT NULL ☞NOT NULL) WITH ('connector' = 'datagen');",
                "the column 'a' says twice whether it may be NULL",
            ),
            (
                "CREATE TABLE t (a INT, ☞UNIQUE (a)) WITH ('connector' = 'datagen');",
                "UNIQUE constraints are not supported",
            ),
            (
                "CREATE TABLE t (a INT, PRIMARY KEY (a)☞) WITH ('connector' = 'datagen');",
                "expected NOT ENFORCED, found ')'",
            ),
            (
                "CREATE TABLE t (a INT, PRIMARY KEY (☞b) NOT ENFORCED) WITH ('connector' = 'datagen');",
                "the primary key's column 'b' is not a physical column",
            ),
            (
                "CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, b INT, PRIMARY KEY (☞b) NOT ENFORCED) WITH ('connector' = 'datagen');",
                "one PRIMARY KEY at most",
            ),
            (
                "CREATE TABLE t (a INT, PRIMARY KEY (a, ☞a) NOT ENFORCED) WITH ('connector' = 'datagen');",
                "'a' is in the primary key twice",
            ),
            (
                "CREATE TABLE t (a INT, b AS a + 1, c AS ☞b + 1) WITH ('connector' = 'datagen');",
                "there is no column 'b'",
            ),
            (
                "CREATE TABLE t (a INT, b AS ☞COUNT(*)) WITH ('connector' = 'datagen');",
                "the aggregate function COUNT cannot stand in a computed column",
            ),
            (
                "CREATE TABLE t (a INT, b AS ☞PROCTIME()) WITH ('connector' = 'datagen');",
                "after a failure it would give other values",
            ),
            (
                "CREATE TABLE t (a INT, ☞b AS NULL) WITH ('connector' = 'datagen');",
                "the computed column 'b' cannot be of type NULL",
            ),
            (
                "CREATE TABLE ☞t (a AS 1) WITH ('connector' = 'datagen');",
                "the table has no columns that its connector could read or write",
            ),
            (
                "CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ☞tz AS tz) WITH ('connector' = 'datagen');",
                "there is no column 'tz'; did you mean ts?",
            ),
            (
                "CREATE TABLE t (ts STRING, WATERMARK FOR ☞ts AS ts) WITH ('connector' = 'datagen');",
                "the time column 'ts' is of type STRING; a watermark needs TIMESTAMP(3)",
            ),
            (
                "CREATE TABLE t (ts TIMESTAMP(6), WATERMARK FOR ☞ts AS ts) WITH ('connector' = 'datagen');",
                "the time column 'ts' is of type TIMESTAMP(6)",
            ),
            (
                "CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ts AS ☞5) WITH ('connector' = 'datagen');",
                "the watermark is of type INT, its time column of TIMESTAMP(3)",
            ),
            (
                "CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ts AS ts, ☞WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');",
                "a table has one WATERMARK at most",
            ),
            (
                "CREATE TABLE t (a INT) ☞PARTITIONED BY (a) WITH ('connector' = 'datagen');",
                "PARTITIONED BY is not supported",
            ),
            (
                "CREATE TABLE t (a INT) ☞PARTITION BY (a) WITH ('connector' = 'datagen');",
                "PARTITION BY is not supported",
            ),
            (
                "CREATE TABLE t ☞LIKE u;",
                "CREATE TABLE … LIKE is not supported",
            ),
            (
                "CREATE TABLE t WITH ('connector' = 'print') ☞LIKE u (EXCLUDING ALL);",
                "CREATE TABLE … LIKE is not supported",
            ),
            (
                "CREATE TABLE t ☞AS SELECT 1;",
                "CREATE TABLE … AS SELECT is not supported",
            ),
            (
                "CREATE TABLE t WITH ('connector' = 'print') ☞AS SELECT 1;",
                "CREATE TABLE … AS SELECT is not supported",
            ),
            (
                "CREATE TABLE t ☞WITH ('connector' = 'print');",
                "expected '(', found 'WITH'",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen') ☞LIKE u;",
                "CREATE TABLE … LIKE is not supported; write the columns and options out",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen') ☞AS SELECT 1;",
                "CREATE TABLE … AS SELECT is not supported",
            ),
            (
                "CREATE TABLE ☞a.b (a INT) WITH ('connector' = 'datagen');",
                "names with a catalog or database",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); CREATE VIEW ☞v (x, y) AS SELECT a FROM t;",
                "2 column names for 1 columns",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); CREATE VIEW v AS SELECT ☞b FROM t;",
                "there is no column 'b'",
            ),
        ],
    );
}

#[test]
fn connectors_and_their_options_are_checked_where_they_stand() {
    const SINK: &str = "CREATE TABLE o (r INT) WITH ('connector' = 'print');\n";
    check_all(
        SINK,
        &[
            (
                "CREATE TABLE t (a INT) WITH (☞'connector' = 'kafak'); INSERT INTO o SELECT a FROM t;",
                "there is no connector 'kafak'",
            ),
            (
                "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', ☞'rows-per-sec' = '5'); INSERT INTO o SELECT a FROM t;",
                "option 'rows-per-sec' is not known",
            ),
            (
                "CREATE TABLE t (a INT) WITH (☞'connector' = 'filesystem', 'path' = '/a'); INSERT INTO o SELECT a FROM t;",
                "option 'format' is required",
            ),
            (
                "CREATE TABLE t (a INT) WITH (☞'connector' = 'filesystem', 'format' = 'json'); INSERT INTO o SELECT a FROM t;",
                "option 'path' is required",
            ),
            (
                "CREATE TABLE t (a INT) WITH (☞'connector' = 'blackhole'); INSERT INTO o SELECT a FROM t;",
                "there is no connector 'blackhole' for this",
            ),
            (
                "CREATE TABLE s (r INT) WITH ('connector' = 'datagen'); CREATE TABLE t (a INT) WITH (☞'connector' = 'datagen'); INSERT INTO t SELECT r FROM s;",
                "there is no connector 'datagen' for this",
            ),
        ],
    );
}

#[test]
fn sinks_refuse_changes_that_they_cannot_take() {
    check_all(
        "CREATE TABLE t (name STRING, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
CREATE TABLE files (name STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/o', 'format' = 'json');
CREATE TABLE keyed (name STRING PRIMARY KEY NOT ENFORCED, n BIGINT) WITH ('connector' = 'keyed');
CREATE TABLE keyless (name STRING, n BIGINT) WITH ('connector' = 'keyed');
CREATE VIEW counted AS SELECT name, COUNT(*) AS n FROM t GROUP BY name;
CREATE TABLE wide (a STRING, b STRING) WITH ('connector' = 'print');
",
        &[
            ("INSERT INTO ☞files SELECT name, n FROM counted", "the sink 'files' takes new rows only, but its query updates rows; rows are updated by GroupAggregate(name) at line 5:67"),
            ("INSERT INTO ☞files SELECT DISTINCT name, 1 FROM t", "takes new rows only"),
            ("INSERT INTO ☞keyed SELECT 'x', n FROM counted", "the sink 'keyed' is updated by its PRIMARY KEY, and the query is not"),
            ("INSERT INTO ☞keyed SELECT name, n FROM counted WHERE n > 1", "without HAVING or UNION ALL"),
            ("INSERT INTO ☞keyed SELECT name, n FROM counted UNION ALL SELECT name, n FROM counted", "is updated by its PRIMARY KEY"),
            ("INSERT INTO ☞keyless SELECT name, n FROM counted", "make the columns of GROUP BY its PRIMARY KEY"),
            ("CREATE TABLE strict (a STRING, b STRING NOT NULL) WITH ('connector' = 'print'); INSERT INTO ☞strict (a) SELECT name FROM t", "the sink's column 'b' is NOT NULL and gets no value"),
            ("INSERT INTO ☞counted SELECT name, 1 FROM t", "'counted' is a view and cannot be written"),
            ("INSERT INTO wide ☞PARTITION (a = 'x') SELECT name FROM t", "PARTITION is not supported"),
        ],
    );
}

#[test]
fn invalid_settings_are_refused() {
    check_all(
        TABLES,
        &[
            (
                "SET 'table.exec.state.ttl' = ☞'soon'; INSERT INTO o SELECT id FROM t;",
                "'soon' is not a duration",
            ),
            (
                "SET 'table.local-time-zone' = ☞'Europe/Berlin'; INSERT INTO o SELECT id FROM t;",
                "zones with daylight saving time are not supported yet",
            ),
            (
                "SET 'execution.runtime-mode' = ☞'batch'; INSERT INTO o SELECT id FROM t;",
                "only the 'streaming' mode exists",
            ),
            (
                "SET 'streamkeeper.source.rows-per-second' = ☞'0'; INSERT INTO o SELECT id FROM t;",
                "'0' is not a rate",
            ),
            (
                "SET ☞'table.exec.state.ttl' = '1 h'; INSERT INTO o SELECT n FROM counted;",
                "table.exec.state.ttl is not supported with GROUP BY without a window",
            ),
        ],
    );
}

#[test]
fn malformed_statement_sets_are_refused() {
    check_all(
        TABLES,
        &[
            (
                "☞EXECUTE STATEMENT SET BEGIN INSERT INTO o SELECT id FROM t;",
                "the STATEMENT SET is not closed; end it with END;",
            ),
            (
                "EXECUTE STATEMENT SET BEGIN ☞SET 'a' = 'b'; INSERT INTO o SELECT id FROM t; END;",
                "only INSERT INTO can stand in a STATEMENT SET",
            ),
            (
                "BEGIN STATEMENT SET; INSERT INTO o SELECT id FROM t; ☞BEGIN STATEMENT SET; END;",
                "a STATEMENT SET cannot stand in another one",
            ),
            (
                "BEGIN STATEMENT SET; INSERT INTO o SELECT id FROM t; END; ☞END;",
                "there is no open STATEMENT SET here",
            ),
            (
                "EXECUTE STATEMENT SET BEGIN INSERT INTO o SELECT id FROM t ☞END;",
                "a semicolon is missing before END; write … ; END;",
            ),
        ],
    );
}

#[test]
fn every_mistake_is_reported_once_and_in_the_order_of_the_text() {
    let errors = refused(
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen');
CREATE TABLE broken (a NOTHING) WITH ('connector' = 'datagen');
CREATE VIEW v AS SELECT b FROM t;
CREATE TABLE o (r INT) WITH ('connector' = 'print');
INSERT INTO o SELECT a FROM broken;
INSERT INTO o SELECT x FROM v;
INSERT INTO o SELECT a FROM missing;
INSERT INTO o SELECT a FROM t WHERE a > 'x';
",
    );
    let places: Vec<(u64, u64)> = errors
        .iter()
        .map(|error| (error.line, error.column))
        .collect();
    assert_eq!(
        places,
        [(2, 24), (3, 25), (7, 29), (8, 37)],
        "{}",
        listed(&errors)
    );
}

#[test]
fn a_wrong_option_hides_no_error_in_the_queries_and_is_reported_once() {
    let errors = refused(
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows' = '5');
CREATE TABLE o (r INT) WITH ('connector' = 'print', 'print' = 'x');
INSERT INTO o SELECT b FROM t;
INSERT INTO o SELECT a + 'x' FROM t;
",
    );
    let places: Vec<(u64, u64)> = errors
        .iter()
        .map(|error| (error.line, error.column))
        .collect();
    assert_eq!(
        places,
        [(1, 55), (2, 53), (3, 22), (4, 22)],
        "{}",
        listed(&errors)
    );
}
