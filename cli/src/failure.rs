//! What went wrong, in one line for people and one number for scripts.

use std::{error::Error as _, io, process::ExitCode, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    commands::{PoolError, VerifyError},
    config::ConfigError,
    ids::InvalidIds,
    text::plain,
};

#[cfg(test)]
mod tests;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Ids(#[from] InvalidIds),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("cannot reach {address}")]
    Unreachable {
        address: String,
        #[source]
        cause: tonic::transport::Error,
    },
    #[error("cannot connect to {address} within {waited:?}")]
    Silent { address: String, waited: Duration },
    #[error("{what} failed at {address}: {}", said(status))]
    Refused { what: &'static str, address: String, status: Box<Status> },
    #[error("{address} did not answer within {waited:?} to {what}")]
    Overdue { what: &'static str, address: String, waited: Duration },
    #[error("{address} answered {what} with nonsense: {wrong}")]
    Nonsense { what: &'static str, address: String, wrong: &'static str },
    #[error("{failure}")]
    Doubtful { failure: Box<Self>, token: String },
    #[error("cannot write the result")]
    Output(#[from] io::Error),
}

const USAGE: u8 = 2;
const REFUSED: u8 = 3;
const UNREACHABLE: u8 = 4;
const OVERDUE: u8 = 5;

impl Failure {
    /// As `--help` documents it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Doubtful { failure, .. } => return failure.exit_code(),
            Self::Config(_) | Self::Ids(_) => USAGE,
            Self::Pool(error) if error.is_usage() => USAGE,
            Self::Output(_) if self.is_closed_pipe() => 0,
            Self::Pool(_) | Self::Verify(_) | Self::Nonsense { .. } | Self::Output(_) => 1,
            Self::Unreachable { .. } | Self::Silent { .. } => UNREACHABLE,
            Self::Overdue { .. } => OVERDUE,
            Self::Refused { .. } if self.is_lost_connection() => UNREACHABLE,
            Self::Refused { status, .. } => match status.code() {
                Code::Unauthenticated | Code::PermissionDenied => REFUSED,
                Code::InvalidArgument => USAGE,
                Code::DeadlineExceeded => OVERDUE,
                _ => 1,
            },
        })
    }

    /// What, where, why, and what to do about it.
    pub(crate) fn line(&self) -> String {
        if let Self::Doubtful { failure, token } = self {
            let again = "it may be done all the same; the same command is not a second change with";
            return plain(&format!("{}; {again} --idempotency-token {token}", failure.line()));
        }
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause in their own text, or say nothing.
            if !line.contains(&text) && text != "transport error" {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        if let Some(remedy) = self.remedy(&line) {
            line = format!("{line}; {remedy}");
        }
        plain(line.trim_end())
    }

    /// Whether the control plane may answer again without anybody's doing.
    pub(crate) fn may_heal(&self) -> bool {
        self.is_lost_connection() || matches!(self, Self::Overdue { .. })
    }

    /// The same, with the token under which a change can be sent again, if it is not known whether it
    /// was made.
    pub(crate) fn in_doubt(self, token: String) -> Self {
        let is_doubtful = match &self {
            Self::Refused { status, .. } => {
                self.is_lost_connection() || status.code() == Code::DeadlineExceeded
            }
            _ => self.may_heal(),
        };
        if is_doubtful { Self::Doubtful { failure: Box::new(self), token } } else { self }
    }

    /// Whether it is only that nobody reads what was found.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// A status with a source was made on this side, of a connection that broke.
    pub(crate) fn is_lost_connection(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                status.code() == Code::Unavailable || status.source().is_some()
            }
            _ => false,
        }
    }

    /// Whether somebody else made a change meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::Aborted)
    }

    fn remedy(&self, line: &str) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } if line.contains("certificate") => {
                Some("if it is signed by an authority of your own, name it by --ca-file")
            }
            Self::Unreachable { .. } | Self::Silent { .. } => Some(
                "is this the control plane's gRPC address? it is set by --endpoint or WCDN_ENDPOINT",
            ),
            Self::Overdue { .. } => Some("try again, or allow more by --call-timeout"),
            Self::Refused { .. } if self.is_lost_connection() => Some("try again"),
            Self::Refused { status, .. } => match status.code() {
                Code::Unauthenticated => Some("check WCDN_API_KEY or --api-key-file"),
                Code::PermissionDenied => Some("use a key that has the scope"),
                Code::OutOfRange => Some("`wcdn status` tells from where events can be had"),
                Code::Aborted => Some(
                    "somebody else changed it meanwhile: read it again, and make the change anew",
                ),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The message, code and details of a status.
fn said(status: &Status) -> String {
    let details = status.get_error_details();
    let mut said = vec![format!("{} ({})", status.message(), name(status.code()))];
    if let Some(wrong) = details.bad_request() {
        said.extend(
            wrong.field_violations.iter().map(|at| format!("{}: {}", at.field, at.description)),
        );
    }
    if let Some(info) = details.error_info() {
        said.push(format!("reason {}", info.reason));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        said.push(format!("may be tried again in {delay:?}"));
    }
    said.join("; ")
}

/// A code as the gRPC documents spell it: `NOT_FOUND`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
