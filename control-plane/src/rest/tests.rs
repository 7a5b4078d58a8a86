//! What the description of the API promises.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::{
    auth::Operation,
    refusal::Refusal,
    rest::{error, openapi},
};

fn described() -> Value {
    let (_, described) = api().split_for_parts();
    serde_json::from_str(&openapi::finished(&described)).unwrap()
}

/// Each call: its method, path and name.
fn calls(described: &Value) -> Vec<(String, String, String)> {
    let mut calls = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let id = call["operationId"].as_str().unwrap().to_owned();
            calls.push((method.clone(), path.clone(), id));
        }
    }
    calls
}

#[test]
fn the_description_is_the_one_in_the_repository() {
    let (_, described) = api().split_for_parts();
    let text = openapi::finished(&described);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("WCDN_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == kept,
        "docs/openapi.json is not what handlers say; run the tests with WCDN_WRITE_OPENAPI=1, and look at it"
    );
}

#[test]
fn every_operation_can_be_asked_for_and_every_call_is_one() {
    let mut missing: BTreeSet<&str> = Operation::ALL.iter().map(|it| it.name()).collect();
    for (method, path, id) in calls(&described()) {
        if openapi::FOR_EVERYBODY.contains(&id.as_str()) {
            continue;
        }
        let operation = openapi::operation(&id);
        let operation =
            operation.unwrap_or_else(|| panic!("{method} {path}: {id} is no operation"));
        missing.remove(operation.name());
    }
    // Those that wait for news are `?wait=` and lists here.
    missing.remove("WatchReceipt");
    missing.remove("WatchPins");
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_call_has_words_a_tag_samples_in_four_languages_and_errors() {
    let described = described();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(call["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            assert_eq!(call["tags"].as_array().map(Vec::len), Some(1), "{name}");
            let samples = call["x-codeSamples"].as_array().unwrap();
            let languages: Vec<_> = samples.iter().map(|it| it["lang"].as_str().unwrap()).collect();
            assert_eq!(languages, ["Shell", "JavaScript", "Python", "PHP"], "{name}");
            assert!(call["responses"]["429"].is_object(), "{name}");
            let has_body = call["requestBody"].is_object();
            assert_eq!(call["responses"]["415"].is_object(), has_body, "{name}");
        }
    }
}

#[test]
fn the_error_reference_tells_every_status() {
    let reference = include_str!("../../../docs/errors.md");
    for (reason, code) in Refusal::ALL {
        let status = error::status(reason, *code).as_u16();
        let row = format!("| `{reason}` | {code:?} | {status} |");
        assert!(reference.contains(&row), "docs/errors.md lacks {row}");
    }
    for (reason, status) in error::OWN {
        let told = reference.lines().any(|line| {
            line.starts_with(&format!("| `{reason}` |"))
                && line.contains(&format!("| {} |", status.as_u16()))
        });
        assert!(told, "docs/errors.md lacks {reason} {status}");
    }
}
