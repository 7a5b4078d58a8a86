use tonic_types::{ErrorDetails, FieldViolation};

use super::*;

fn refused(status: Status) -> Failure {
    Failure::Refused { what: "purge", address: "http://a:1".into(), status: Box::new(status) }
}

#[test]
fn details_of_a_refusal_are_told_in_one_line() {
    let mut details = ErrorDetails::new();
    details.set_bad_request(vec![FieldViolation::new("ids[3]", "no blob id")]);
    details.set_error_info("BAD_ID", "wcdn", std::collections::HashMap::new());
    details.set_retry_info(Some(Duration::from_secs(3)));
    let status = Status::with_error_details(Code::InvalidArgument, "some\nwrong", details);
    assert_eq!(
        refused(status).line(),
        "purge failed at http://a:1: some wrong (INVALID_ARGUMENT); ids[3]: no blob id; \
         reason BAD_ID; may be tried again in 3s"
    );
}

#[test]
fn every_code_has_its_exit_code_and_its_name() {
    let expected = [
        (Code::Unauthenticated, 3, "UNAUTHENTICATED"),
        (Code::PermissionDenied, 3, "PERMISSION_DENIED"),
        (Code::InvalidArgument, 2, "INVALID_ARGUMENT"),
        (Code::Unavailable, 4, "UNAVAILABLE"),
        (Code::DeadlineExceeded, 5, "DEADLINE_EXCEEDED"),
        (Code::NotFound, 1, "NOT_FOUND"),
        (Code::Aborted, 1, "ABORTED"),
        (Code::Internal, 1, "INTERNAL"),
    ];
    for (code, exit, spelt) in expected {
        let failure = refused(Status::new(code, "why"));
        assert_eq!(failure.exit_code(), ExitCode::from(exit), "{code:?}");
        assert!(failure.line().contains(&format!("why ({spelt})")), "{}", failure.line());
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
    assert!(gone.is_closed_pipe());
    assert_eq!(gone.exit_code(), ExitCode::from(0));
    let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
    assert_eq!(full.exit_code(), ExitCode::from(1));
}
