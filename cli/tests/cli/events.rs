//! The events of the log, read and followed.

use std::process::Stdio;

use serde_json::json;
use tonic::{Code, Status};
use wcdn_proto::{
    BlobId, Change, ContentId, Purge,
    pb::{admin::v1::TailEventsResponse, event::v1::Event},
};

use super::{
    desk::{COMMITTED_AT_MS, Desk, at},
    program::{Shell, id},
};

fn event(seq: u64, change: &Change) -> TailEventsResponse {
    let (position, event) = (at(1, seq), Some(change.to_wire()));
    TailEventsResponse { position, committed_at_ms: COMMITTED_AT_MS, event }
}

fn blob(byte: u8) -> BlobId {
    BlobId::from_bytes([byte; 32])
}

/// One of each kind, from 1:1 to 1:7.
fn all() -> Vec<TailEventsResponse> {
    let unknown =
        TailEventsResponse { event: Some(Event::default()), ..event(7, &Change::Barrier) };
    let known = [
        Change::Purge(Purge::Ids(vec![blob(1), blob(2), blob(3)])),
        Change::Purge(Purge::All),
        Change::Block(vec![ContentId::Blob(blob(1))]),
        Change::Unblock(vec![ContentId::Blob(blob(1))]),
        Change::Origins { revision: 4 },
        Change::Barrier,
    ];
    (1..).zip(&known).map(|(seq, change)| event(seq, change)).chain([unknown]).collect()
}

#[tokio::test]
async fn each_event_is_a_line() {
    let desk = Desk::start().await;
    desk.log(all());
    let shell = Shell::of(&desk);
    let (one, time) = (id(1), "2026-11-25T12:00:00.250Z");
    let expected = format!(
        "\
1:1           {time}  purge    {one} and 2 other ids
1:2           {time}  purge    everything
1:3           {time}  block    {one}
1:4           {time}  unblock  {one}
1:5           {time}  origins  revision 4
1:6           {time}  barrier
1:7           {time}  unknown  this program is too old to know it
"
    );
    assert_eq!(shell.run("events --after 1:0").await.done(), expected);
    let end: Vec<_> = expected.lines().skip(5).collect();
    assert_eq!(shell.run("events --after 1:5").await.done().lines().collect::<Vec<_>>(), end);
}

#[tokio::test]
async fn each_event_in_json_is_a_document_of_its_own() {
    let desk = Desk::start().await;
    desk.log(all());
    let printed = Shell::of(&desk).run("events --after 1:0 --json").await.done();
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(
        lines[0],
        json!({
            "position": "1:1", "committedAt": "2026-11-25T12:00:00.250Z", "kind": "purge",
            "all": false, "ids": [id(1), id(2), id(3)], "revision": null,
        })
    );
    assert_eq!((&lines[1]["all"], &lines[4]["revision"]), (&json!(true), &json!(4)));
}

#[tokio::test]
async fn without_a_position_the_last_twenty_are_shown() {
    let desk = Desk::start().await;
    desk.log((1..=50).map(|seq| event(seq, &Change::Barrier)).collect());
    let printed = Shell::of(&desk).run("events").await.done();
    let positions: Vec<_> = printed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!((positions.len(), positions[0], positions[19]), (20, "1:31", "1:50"));
}

#[tokio::test]
async fn following_shows_what_comes_and_outlives_a_lost_connection() {
    let desk = Desk::start().await;
    desk.log(vec![event(1, &Change::Barrier)]);
    desk.state().breaks = 2;
    let mut running = Shell::of(&desk).start("events --follow --json --after 1:0");
    for seq in 1..=4 {
        let line: serde_json::Value = serde_json::from_str(&running.line().await).expect("JSON");
        assert_eq!(line["position"], format!("1:{seq}"), "none is missing, none comes twice");
        desk.log(vec![event(seq + 1, &Change::Barrier)]);
    }
    assert_eq!(desk.state().breaks, 0);
}

#[tokio::test]
async fn a_reader_that_had_enough_is_no_error() {
    let desk = Desk::start().await;
    desk.log((1..=5_000).map(|seq| event(seq, &Change::Barrier)).collect());
    let shell = Shell::of(&desk);
    let mut command = shell.command("events --after 1:0");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[tokio::test]
async fn events_that_are_no_longer_kept_are_said_to_be_gone() {
    let desk = Desk::start().await;
    desk.state().refusal = Some(Status::new(Code::OutOfRange, "the log begins at 1:7"));
    let told = Shell::of(&desk).run("events --after 1:2 --follow").await.failed(1);
    let expected = format!(
        "the events failed at {}: the log begins at 1:7 (OUT_OF_RANGE); \
         `wcdn status` tells from where events can be had",
        desk.url()
    );
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_stream_that_should_end_and_is_silent_is_given_up() {
    let desk = Desk::start().await;
    desk.log(all());
    desk.state().hangs = true;
    let told = Shell::of(&desk).run("events --after 1:0 --call-timeout 2s").await;
    assert_eq!((told.code, told.stdout.lines().count()), (Some(5), 7), "{}", told.stderr);
    assert!(told.stderr.contains("did not answer within 2s to the events"), "{}", told.stderr);
}
