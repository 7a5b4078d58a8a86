//! Why a program ends early, and with which exit code.

use std::process::ExitCode;

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
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Other(error.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Problems(_) => 2,
            Self::Other(_) => 1,
        })
    }

    /// The message with its causes, each after a colon.
    pub(crate) fn with_causes(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}
