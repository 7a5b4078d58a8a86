//! Why a program ends early, and with which exit code.

use std::{error::Error, iter::successors, process::ExitCode};

use crate::config::{ConfigError, Problems};

/// The end of a program, for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was told something that makes no sense: exit code 2.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration has values that make no sense: exit code 2.
    #[error("the configuration cannot be used:\n{0}")]
    Problems(#[from] Problems),
    /// Anything else: exit code 1.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// A failure that is not about configuration.
    pub fn other(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Other(error.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Problems(_) => 2,
            Self::Other(_) => 1,
        })
    }

    /// What to print: each problem with where the configuration came from, or the message with
    /// its causes, each after a colon.
    pub(crate) fn report(&self, name: &str, sources: &str) -> String {
        match self {
            Self::Problems(problems) => {
                let line = |problem| format!("{name}: {sources}: {problem}");
                problems.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Self::Config(_) | Self::Other(_) => {
                let causes = successors(self.source(), |&cause| cause.source());
                causes.fold(format!("{name}: {self}"), |text, cause| format!("{text}: {cause}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_ends_with_the_first_cause() {
        let failure = Failure::Other(anyhow::anyhow!("refused").context("cannot bind :80"));
        assert_eq!(failure.report("x", ""), "x: cannot bind :80: refused");
    }

    #[test]
    fn each_problem_is_a_line_with_its_file() {
        let mut problems = Problems::default();
        problems.push("cache.memory", "is 8 MiB; the least is 64 MiB");
        problems.push("fetch.tries", "is 0; the least is 1");
        assert_eq!(
            Failure::from(problems).report("x", "node.toml"),
            "x: node.toml: cache.memory is 8 MiB; the least is 64 MiB\n\
             x: node.toml: fetch.tries is 0; the least is 1"
        );
    }
}
