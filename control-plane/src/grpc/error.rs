//! Refusals as gRPC tells them.

use std::collections::HashMap;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::refusal::{Refusal, Violation};

/// Who says so, in `ErrorInfo`.
const DOMAIN: &str = "wcdn.dev";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::with_error_info(refusal.reason(), DOMAIN, HashMap::new());
        for Violation { field, problem } in refusal.violations() {
            details.add_bad_request_violation(field, problem);
        }
        if let Some(wait) = refusal.retry_after() {
            details.set_retry_info(Some(wait));
        }
        Self::with_error_details(refusal.code(), refusal.message(), details)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_status_tells_reason_fields_and_when_to_try_again() {
        let status = Status::from(Refusal::invalid("ids[3]", "is \"x\"; a blob id has 43 digits"));
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_REQUEST");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "ids[3]");
        let busy = Status::from(Refusal::Full { what: "sessions" }).get_error_details();
        assert_eq!(busy.retry_info().unwrap().retry_delay, Refusal::Draining.retry_after());
    }
}
