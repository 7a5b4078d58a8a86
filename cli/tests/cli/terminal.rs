//! What differs on a terminal: colour, width, and progress in one line.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, process::Stdio};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use wcdn_proto::pb::{
    admin::v1::{BlockedId, NodeState},
    edge::v1::RedisOutcome,
};

use super::{
    changes::{applied, other},
    desk::Desk,
    program::{Shell, id},
};

/// A terminal of 60 columns: the end that shows, and the end that programs write to.
fn terminal() -> (File, OwnedFd) {
    let shows = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&shows).expect("it is ours");
    unlockpt(&shows).expect("it is ours");
    let name = ptsname(&shows, Vec::new()).expect("it has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let written = rustix::fs::open(name, flags, Mode::empty()).expect("it opens");
    let size = Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&written, size).expect("it has a size");
    (File::from(shows), written)
}

/// Runs the line on a terminal; what it shows, and the exit code.
async fn shown(shell: &Shell, line: &str) -> (String, Option<i32>) {
    let (mut shows, written) = terminal();
    let mut command = shell.command(line);
    command.stdout(Stdio::from(written.try_clone().expect("it is open"))).stderr(written);
    let mut child = command.spawn().expect("it runs");
    // The writing end is now the program's alone, so that reading ends with it.
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut text, mut part) = (Vec::new(), [0; 1024]);
        while let Ok(length @ 1..) = shows.read(&mut part) {
            text.extend_from_slice(&part[..length]);
        }
        String::from_utf8(text).expect("it prints text")
    });
    let status = child.wait().await.expect("it ends");
    (reading.await.expect("it is read"), status.code())
}

#[tokio::test]
async fn a_terminal_gets_colour_unless_somebody_asked_for_none() {
    let desk = Desk::start().await;
    desk.tell(vec![applied("eu-1", 4_000, RedisOutcome::None), other("us-1", NodeState::Lost)]);
    let shell = Shell::of(&desk);
    let (text, code) = shown(&shell, "barrier --wait").await;
    assert_eq!(code, Some(5));
    assert!(text.contains("\x1b[32mapplied\x1b[0m"), "{text:?}");
    assert!(text.contains("\x1b[31mlost\x1b[0m"), "{text:?}");
    let (text, _) = shown(&shell.set("NO_COLOR", "1"), "receipt chg_1").await;
    assert!(text.contains("applied") && !text.contains('\x1b'), "{text:?}");
}

#[tokio::test]
async fn progress_is_one_line_that_is_rewritten_and_then_gone() {
    let desk = Desk::start().await;
    desk.tell(vec![other("eu-1", NodeState::Pending)]);
    let shell = Shell::of(&desk).set("NO_COLOR", "1");
    let (text, code) = shown(&shell, "barrier --wait --timeout 2s").await;
    assert_eq!(code, Some(5));
    assert!(text.contains("\r\x1b[Kchg_1: 0 of 1 node; waiting for eu-1\r\x1b[KNODE"), "{text:?}");
}

#[tokio::test]
async fn a_table_is_not_wider_than_the_terminal() {
    let desk = Desk::start().await;
    let reason = "a reason that goes on for longer than anybody would care to read".to_owned();
    let block = BlockedId { id: id(1), reason, by: "o".into(), blocked_at_ms: 0 };
    desk.state().blocks = vec![block];
    let (text, code) = shown(&Shell::of(&desk), "blocks --quiet").await;
    assert_eq!(code, Some(0));
    assert!(text.contains("a reaso…\r\n"), "{text:?}");
}
