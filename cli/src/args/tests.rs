use clap::CommandFactory as _;
use proptest::prelude::*;
use wcdn_proto::BlobId;

use super::*;

proptest! {
    #[test]
    fn every_id_may_be_pasted_before_and_after_options(bytes: [u8; 32], others in "[!-~]{0,20}") {
        let id = BlobId::from_bytes(bytes).to_string();
        let line = ["wcdn", "purge", &id, "--wait", "--from-file", &format!("./{others}"), &id];
        let args = Args::try_parse_from(shielded(line.map(OsString::from))).unwrap();
        let Command::Purge(purge) = args.command else { panic!("it was a purge") };
        prop_assert!(purge.wait.wait);
        prop_assert_eq!(purge.ids.ids, [id.clone(), id]);
    }

    #[test]
    fn lines_without_such_ids_stay_as_they_are(line in proptest::collection::vec("[ -~]{0,30}", 0..6)) {
        let line: Vec<OsString> = line.into_iter().map(OsString::from).collect();
        prop_assert_eq!(shielded(line.clone()), line);
    }
}

#[test]
fn the_description_of_the_command_line_holds_together() {
    Args::command().debug_assert();
}

#[test]
fn what_stands_behind_two_dashes_stays_there() {
    let id = format!("-{}", "A".repeat(42));
    let line = ["wcdn", "purge", &id, "--", "-x"].map(OsString::from);
    assert_eq!(shielded(line), ["wcdn", "purge", "--", &id, "-x"]);
}
