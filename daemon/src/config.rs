//! Configuration: a TOML file, and variables over it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why configuration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is no TOML, or has keys or values that are unknown.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, key and what is wrong.
        problem: String,
    },
    /// A variable names no key, or its value does not fit.
    #[error("the variables WCDN_… do not fit: {problem}")]
    Variables {
        /// Which, and what is wrong.
        problem: String,
    },
}

/// Everything that is wrong with values that could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems {
    problems: Vec<String>,
}

impl Problems {
    /// Adds one: the key, and what is wrong with it in words that follow the key.
    pub fn push(&mut self, key: &str, problem: impl fmt::Display) {
        self.problems.push(format!("{key} {problem}"));
    }

    /// Fails if there is any.
    ///
    /// # Errors
    /// Itself.
    pub fn into_result(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// What variables that configure begin with; two underscores stand between the levels of a key,
/// so that `cache.memory` is `WCDN_CACHE__MEMORY`.
const PREFIX: &str = "WCDN_";

/// Reads the file, if there is one, and lays the variables over it. Variables without a double
/// underscore are left to others.
///
/// # Errors
/// [`ConfigError`] names file, line and key.
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let mut table = match path {
        Some(path) => read::<T>(path)?,
        None => Table::new(),
    };
    let mut names = Vec::new();
    for (name, value) in variables {
        let Some(key) = name.strip_prefix(PREFIX).filter(|key| key.contains("__")) else {
            continue;
        };
        overlay(&mut table, &key.to_lowercase(), &value)
            .ok_or_else(|| ConfigError::Variables { problem: format!("{name} names no key") })?;
        names.push(name);
    }
    let whole = Value::Table(table).try_into();
    whole.map_err(|error: toml::de::Error| ConfigError::Variables {
        problem: format!("{} (of {})", error.to_string().trim_end(), names.join(", ")),
    })
}

/// Reads a file; proves that it stands on its own, so that errors name its lines.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    let failed = |error: toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        problem: error.to_string().trim_end().to_owned(),
    };
    toml::from_str::<T>(&text).map_err(failed)?;
    toml::from_str(&text).map_err(failed)
}

/// Puts one value where its key says; `None` if the key leads through something that is no table.
fn overlay(table: &mut Table, key: &str, value: &str) -> Option<()> {
    match key.split_once("__") {
        None if key.is_empty() => None,
        None => {
            table.insert(key.to_owned(), parsed(value));
            Some(())
        }
        Some((section, rest)) => {
            let below = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            overlay(below.as_table_mut()?, rest, value)
        }
    }
}

/// The value as TOML reads it, or as text: `30`, `true` and `["a"]` need no quotes, nor does `30s`.
fn parsed(value: &str) -> Value {
    let read = toml::from_str::<Table>(&format!("value = {value}"));
    let read = read.ok().and_then(|mut table| table.remove("value"));
    read.unwrap_or_else(|| Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
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

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        load(Some(file.path()), variables.collect::<Vec<_>>())
    }

    #[test]
    fn variables_lie_over_the_file() {
        let config = with(
            "[cache]\nmemory = \"1 GiB\"\nentries = 1\n",
            &[("WCDN_CACHE__ENTRIES", "5"), ("WCDN_LOG", "debug"), ("PATH", "/bin")],
        );
        let expected = Cache { memory: "1 GiB".into(), entries: 5 };
        assert_eq!(config.unwrap(), Config { cache: expected });
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = with("[cache]\nmemroy = \"1 GiB\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("memroy"), "{error}");
    }

    #[test]
    fn a_variable_that_names_no_key_is_an_error() {
        let error = with("", &[("WCDN_CACHE__MEMROY", "x")]).unwrap_err().to_string();
        assert!(error.contains("WCDN_CACHE__MEMROY") && error.contains("memroy"), "{error}");
        let error = with("", &[("WCDN_CACHE__MEMORY__X", "x"), ("WCDN_CACHE__MEMORY", "1")]);
        assert!(error.is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Config>(Some(Path::new("/no/such.toml")), []).unwrap_err();
        assert!(error.to_string().contains("/no/such.toml"));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let mut problems = Problems::default();
        problems.push("cache.memory", "is 8 MiB; the least is 16 MiB");
        problems.push("fetch.tries", "is 0; the least is 1");
        let told = problems.into_result().unwrap_err().to_string();
        assert_eq!(told.lines().count(), 2);
    }

    proptest! {
        #[test]
        fn no_variable_makes_the_loader_panic(name in "WCDN_[A-Z_]{0,12}", value in "\\PC{0,20}") {
            let _ = load::<Config>(None, [(name, value)]).is_ok();
        }

        #[test]
        fn text_needs_no_quotes(value in "[a-z][a-z0-9 ]{1,12}") {
            prop_assume!(!["true", "false", "inf", "nan"].contains(&value.as_str()));
            let variables = [("WCDN_CACHE__MEMORY".to_owned(), value.clone())];
            prop_assert_eq!(load::<Config>(None, variables).unwrap().cache.memory, value);
        }
    }
}
