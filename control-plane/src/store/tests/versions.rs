//! Control planes of two versions share a database while the one replaces the other.

use std::path::Path;

use sqlx::{AssertSqlSafe, Executor as _};

use super::*;

on_both!(what_the_version_before_asks_is_answered);

async fn what_the_version_before_asks_is_answered(on: On) {
    let (_fresh, store) = on.store().await;
    let text = include_str!("released.sql");
    let text: String = text.lines().filter(|line| !line.starts_with("--")).collect();
    let mut connection = store.writer.acquire().await.unwrap();
    let mut count = 0;
    for statement in text.split_terminator(';') {
        // Neither runs it, and both look whether it could be.
        let question = match on {
            On::Sqlite => format!("EXPLAIN {statement}"),
            On::Postgres => format!("PREPARE s{count} AS {statement}"),
        };
        let answered = connection.execute(sqlx::raw_sql(AssertSqlSafe(question))).await;
        assert!(answered.is_ok(), "{statement}: {:?}", answered.err());
        count += 1;
    }
    let absent = sqlx::raw_sql("EXPLAIN SELECT nothing FROM head");
    assert!(connection.execute(absent).await.is_err());
    assert!(count > 40, "{count} statements");
}

/// Statements that the version before does not notice: tables, indexes that refuse nothing, and columns
/// that need no value.
fn only_adds(statement: &str, new_tables: &[String]) -> bool {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let is_new = |table: &str| new_tables.iter().any(|new| new == table);
    match words[..] {
        ["CREATE", "TABLE", ..] | ["CREATE", "INDEX", ..] => true,
        ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => is_new(table),
        ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
            !statement.contains("NOT NULL") || statement.contains("DEFAULT")
        }
        _ => false,
    }
}

#[test]
fn migrations_only_add() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let text: String = text
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default())
            .fold(String::new(), |text, line| text + line + "\n");
        let statements: Vec<&str> =
            text.split(';').map(str::trim).filter(|statement| !statement.is_empty()).collect();
        let tables = statements.iter().filter_map(|it| it.strip_prefix("CREATE TABLE "));
        let tables: Vec<String> =
            tables.filter_map(|rest| rest.split(['(', ' ']).next().map(str::to_owned)).collect();
        for statement in statements {
            assert!(
                only_adds(statement, &tables),
                "{}: the version before would notice {statement:?}; CONTRIBUTING.md says how it is done \
                 in two releases",
                file.display()
            );
        }
    }
    let none = [];
    for notices in [
        "DROP TABLE a",
        "ALTER TABLE a RENAME TO b",
        "ALTER TABLE a DROP COLUMN b",
        "ALTER TABLE a ADD COLUMN b BIGINT NOT NULL",
        "CREATE UNIQUE INDEX a_b ON a (b)",
    ] {
        assert!(!only_adds(notices, &none), "{notices}");
    }
}

#[test]
fn no_statement_names_columns_by_a_star() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                !text.contains("SELECT *"),
                "{}: a later version may add columns",
                path.display()
            );
        }
    }
}
