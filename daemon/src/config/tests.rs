use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    cache: Cache,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cache {
    memory: String,
    entries: u32,
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load(Some(file.path()), pairs(variables))
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    with(text, variables).unwrap_err().to_string()
}

#[test]
fn variables_lie_over_the_file_and_other_programs_variables_do_not() {
    let config = with(
        "[cache]\nmemory = \"1 GiB\"\nentries = 1\n",
        &[
            ("WCDN_CACHE__ENTRIES", "5"),
            ("WCDN_LOG", "debug"),
            ("WCDN_API_KEY", "x"),
            ("PATH", "/bin"),
            ("APP__X", "1"),
        ],
    );
    let expected = Cache { memory: "1 GiB".into(), entries: 5 };
    assert_eq!(config.unwrap(), Config { cache: expected });
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_would_be_right() {
    let error = refused("[cache]\nmemroy = \"1 GiB\"\n", &[]);
    for part in ["line 2", "memroy", "`memory`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn every_wrong_variable_is_named_and_no_right_one() {
    let error = refused(
        "",
        &[
            ("WCDN_CACHE__MEMROY", "x"),
            ("WCDN_CACHE__ENTRIES", "many"),
            ("WCDN_CACHE__MEMORY", "1 GiB"),
        ],
    );
    for part in [
        "WCDN_CACHE__MEMROY: unknown field `memroy`",
        "WCDN_CACHE__ENTRIES: invalid type: string \"many\"",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("WCDN_CACHE__MEMORY:"), "{error}");
    assert!(!error.contains('\n'), "{error:?}");
}

#[test]
fn a_variable_below_a_value_is_refused_in_any_order() {
    let mut variables = [("WCDN_CACHE__MEMORY__X", "x"), ("WCDN_CACHE__MEMORY", "1 GiB")];
    let error = refused("", &variables);
    assert!(error.contains("WCDN_CACHE__MEMORY__X"), "{error}");
    variables.reverse();
    assert_eq!(error, refused("", &variables));
}

#[test]
fn variables_that_only_fail_together_are_all_named() {
    let variables = pairs(&[("WCDN_A__B", "1"), ("WCDN_A__B__C", "2")]);
    let error = load::<Table>(None, variables).unwrap_err().to_string();
    assert_eq!(error, "WCDN_A__B, WCDN_A__B__C: WCDN_A__B__C names no key");
}

#[test]
fn an_empty_level_is_no_key() {
    for name in ["WCDN___MEMORY", "WCDN_CACHE__", "WCDN___"] {
        let error = refused("", &[(name, "1")]);
        assert!(error.contains("names no key"), "{name}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = load::<Config>(Some(Path::new("/no/such.toml")), []).unwrap_err();
    assert!(error.to_string().contains("/no/such.toml"));
}

#[test]
fn what_has_no_default_is_asked_for() {
    #[derive(Debug, Deserialize)]
    struct Needy {
        #[expect(dead_code, reason = "read by serde only")]
        region: String,
    }
    let error = load::<Needy>(None, []).unwrap_err().to_string();
    assert!(error.contains("--config") && error.contains("region"), "{error}");
}

#[test]
fn sources_are_the_file_and_the_variables_that_configure() {
    let variables = pairs(&[("WCDN_LOG", "info"), ("WCDN_CACHE__MEMORY", "1")]);
    assert_eq!(sources(None, []), "defaults");
    assert_eq!(sources(Some(Path::new("node.toml")), variables), "node.toml, WCDN_CACHE__MEMORY");
}

#[test]
fn a_value_is_the_whole_variable() {
    assert_eq!(parsed("1\nother = 2".to_owned()), Value::String("1\nother = 2".into()));
}

/// One level of a key, as a file spells it.
fn level() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,4})?"
}

proptest! {
    #[test]
    fn a_variable_reaches_the_key_it_names(
        levels in prop::collection::vec(level(), 2..6),
        value in any::<i64>(),
    ) {
        let name = format!("{PREFIX}{}", levels.join("__").to_uppercase());
        let table: Table = load(None, [(name, value.to_string())]).unwrap();
        let (last, sections) = levels.split_last().unwrap();
        let below = sections.iter().fold(&table, |table, name| table[name].as_table().unwrap());
        prop_assert_eq!(&below[last], &Value::Integer(value));
    }

    #[test]
    fn the_order_of_variables_does_not_matter(
        variables in prop::collection::vec(("WCDN_[AB]__[AB](__[AB])?", "[0-9]{1,3}"), 0..5)
            .prop_map(|all| all.into_iter().collect::<std::collections::BTreeMap<_, _>>()),
    ) {
        let forward = load::<Table>(None, variables.clone());
        let backward = load::<Table>(None, variables.into_iter().rev());
        prop_assert_eq!(forward.ok(), backward.ok());
    }

    #[test]
    fn no_variable_makes_the_loader_panic(name in "WCDN_[A-Z_]{0,12}", value in "\\PC{0,20}") {
        let variables = [(name.clone(), value)];
        if let Err(error) = load::<Config>(None, variables) {
            prop_assert!(error.to_string().contains(&name));
        }
    }

    #[test]
    fn no_file_makes_the_loader_panic(text in "([a-z.\\[\\]\"=#\n ]|\\PC){0,60}") {
        if let Err(error) = with(&text, &[]) {
            let in_file = matches!(error, ConfigError::File { .. });
            prop_assert!(in_file);
        }
    }

    #[test]
    fn text_needs_no_quotes(value in "[a-z][a-z0-9 ]{1,12}") {
        prop_assume!(!["true", "false", "inf", "nan"].contains(&value.trim()));
        let variables = [("WCDN_CACHE__MEMORY".to_owned(), value.clone())];
        prop_assert_eq!(load::<Config>(None, variables).unwrap().cache.memory, value);
    }

    #[test]
    fn quoted_text_is_text(value in "[0-9a-z\" \\\\]{0,12}") {
        let quoted = Value::String(value.clone()).to_string();
        prop_assert_eq!(parsed(quoted), Value::String(value));
    }
}
