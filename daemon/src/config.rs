//! Configuration: a TOML file, and variables over it.

mod problems;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use problems::Problems;

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
        /// Line, key, what is wrong and what would be right.
        problem: String,
    },
    /// Variables name no key, or their values do not fit.
    #[error("{problem}")]
    Variables {
        /// Each variable, what is wrong with it and what would be right.
        problem: String,
    },
    /// There is no file, and something is needed that has no default.
    #[error("there is no --config, and the defaults do not do: {problem}")]
    Missing {
        /// The key.
        problem: String,
    },
}

/// What variables that configure begin with; two underscores stand between the levels of a key,
/// so that `cache.memory` is `WCDN_CACHE__MEMORY`.
const PREFIX: &str = "WCDN_";

/// A variable that configures.
struct Variable {
    name: String,
    /// `cache__memory`
    key: String,
    value: Value,
}

/// Reads the file, if there is one, and lays the variables over it. Variables without a double
/// underscore are left to others.
///
/// A value is read as TOML if it is TOML, else as text: `30`, `true`, `["a"]` and `30s` all need no
/// quotes; text that looks like a number does.
///
/// # Errors
/// [`ConfigError`] names file, line and key, or the variables.
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let file = match path {
        Some(path) => read::<T>(path)?,
        None => Table::new(),
    };
    let variables = ours(variables);
    fitted(&file, &variables).map_err(|problem| {
        if variables.is_empty() {
            return ConfigError::Missing { problem };
        }
        let problem = blame::<T>(&file, &variables, &problem);
        ConfigError::Variables { problem }
    })
}

/// The process's variables for [`load`]; unlike [`std::env::vars`], it does not panic at one that
/// is not UTF-8.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// Where values came from, for whoever must correct one.
pub(crate) fn sources(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> String {
    let file = path.map(|path| path.display().to_string());
    let names = ours(variables).into_iter().map(|variable| variable.name);
    let all: Vec<String> = file.into_iter().chain(names).collect();
    if all.is_empty() { "defaults".to_owned() } else { all.join(", ") }
}

/// Those that configure, in an order that does not depend on the system's.
fn ours(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Variable> {
    let variable = |(name, value): (String, String)| {
        let key = name.strip_prefix(PREFIX).filter(|key| key.contains("__"))?;
        Some(Variable { key: key.to_lowercase(), value: parsed(value), name })
    };
    let mut ours: Vec<Variable> = variables.into_iter().filter_map(variable).collect();
    ours.sort_by(|a, b| a.name.cmp(&b.name));
    ours
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

/// The file with variables laid over it, or what is wrong.
fn fitted<'a, T: DeserializeOwned>(
    file: &Table,
    variables: impl IntoIterator<Item = &'a Variable>,
) -> Result<T, String> {
    let mut table = file.clone();
    for variable in variables {
        overlay(&mut table, &variable.key, &variable.value)
            .ok_or_else(|| format!("{} names no key", variable.name))?;
    }
    let whole = Value::Table(table).try_into();
    whole.map_err(|error: toml::de::Error| error.to_string().trim_end().replace('\n', " "))
}

/// Puts one value where its key says; `None` if the key leads through something that is no table.
fn overlay(table: &mut Table, key: &str, value: &Value) -> Option<()> {
    let (section, rest) = match key.split_once("__") {
        Some((section, rest)) => (section, Some(rest)),
        None => (key, None),
    };
    if section.is_empty() {
        return None;
    }
    let Some(rest) = rest else {
        table.insert(section.to_owned(), value.clone());
        return Some(());
    };
    let below = table.entry(section).or_insert_with(|| Table::new().into());
    overlay(below.as_table_mut()?, rest, value)
}

/// Which variables do not fit, and why: those that fail on their own, or all of them if they only
/// fail together.
fn blame<T: DeserializeOwned>(file: &Table, variables: &[Variable], together: &str) -> String {
    let alone = |variable: &Variable| {
        let problem = fitted::<T>(file, [variable]).err()?;
        Some(format!("{}: {problem}", variable.name))
    };
    let guilty: Vec<String> = variables.iter().filter_map(alone).collect();
    if guilty.is_empty() {
        let names: Vec<&str> = variables.iter().map(|one| one.name.as_str()).collect();
        return format!("{}: {together}", names.join(", "));
    }
    guilty.join("; ")
}

fn parsed(value: String) -> Value {
    value.trim().parse().unwrap_or(Value::String(value))
}

#[cfg(test)]
mod tests;
