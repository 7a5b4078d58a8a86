//! What is wrong with values that could be read, all of it at once.

use std::fmt;

/// Everything that is wrong with values that could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems {
    problems: Vec<String>,
}

impl Problems {
    /// Adds one: the key, and what is wrong with it in words that follow the key, with the remedy.
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

    /// Each one, with its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_on_its_own_line() {
        let mut problems = Problems::default();
        problems.push("cache.memory", "is 8 MiB; the least is 16 MiB");
        problems.push("fetch.tries", "is 0; the least is 1");
        let told = problems.into_result().unwrap_err().to_string();
        assert_eq!(
            told,
            "cache.memory is 8 MiB; the least is 16 MiB\nfetch.tries is 0; the least is 1"
        );
    }

    #[test]
    fn no_problem_is_no_failure() {
        assert_eq!(Problems::default().into_result(), Ok(()));
    }
}
