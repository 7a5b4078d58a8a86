//! The HTTP/2 of others: nghttp shows every frame, h2load asks much at once.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// How long either may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What nghttp saw on one connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The status of each stream.
    pub statuses: BTreeMap<u32, u16>,
    /// The streams that the edge ended, by an `END_STREAM`.
    pub ended: Vec<u32>,
    /// Streams reset, and connections closed, by either end; with the error.
    pub broken: Vec<String>,
}

/// What h2load counted.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    /// Responses with a status below 400 that ended as they should.
    pub succeeded: u32,
    /// Requests that did not succeed: other statuses, too.
    pub failed: u32,
    /// Those of them whose connection failed.
    pub errored: u32,
    /// Those of them that took too long.
    pub timeout: u32,
}

/// Asks for a URL `times` times on one connection, with more headers.
///
/// # Panics
/// When nghttp is not installed or finds no HTTP/2.
pub async fn nghttp(url: &str, times: u32, headers: &[&str]) -> Session {
    let mut command = Command::new("nghttp");
    command.args(["--null-out", "--verbose", "--multiply", &times.to_string()]);
    command.args(headers.iter().map(|header| format!("--header={header}")));
    Session::read(&run(command.arg(url)).await)
}

/// Asks for a URL 2000 times: four connections of 32 requests at a time.
///
/// # Panics
/// When h2load is not installed or finds no HTTP/2.
pub async fn h2load(url: &str) -> Count {
    let mut command = Command::new("h2load");
    let text = run(command.args(["-n", "2000", "-c", "4", "-m", "32", url])).await;
    Count::read(&text).unwrap_or_else(|| panic!("h2load says nothing of requests: {text}"))
}

async fn run(command: &mut Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await.expect("it comes to an end");
    let output = output.expect("it is installed; scripts/install test does it");
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", said(&output.stderr));
    said(&output.stdout)
}

impl Session {
    /// Makes sense of what nghttp prints: a line for each frame, and one for each field of a head.
    fn read(text: &str) -> Self {
        let mut session = Self::default();
        for (line, next) in text.lines().zip(text.lines().skip(1)) {
            let number = |label| number_after(line, label);
            let received = line.contains(" recv ");
            if let (Some(stream), Some(status)) = (number("(stream_id="), number(":status: ")) {
                session.statuses.insert(stream, u16::try_from(status).expect("a status"));
            } else if received && line.contains(" frame <") && next.contains("END_STREAM") {
                session.ended.extend(number("stream_id="));
            } else if line.contains(" RST_STREAM frame <") || line.contains(" GOAWAY frame <") {
                session.broken.push(format!("{} {}", line.trim(), next.trim()));
            }
        }
        // That nghttp itself leaves in the end is how it should be.
        session.broken.retain(|end| !(end.contains(" send GOAWAY ") && end.contains("NO_ERROR")));
        session
    }
}

impl Count {
    fn read(text: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.starts_with("requests: "))?;
        let count = |what| {
            let part = line.split(", ").find_map(|part| part.strip_suffix(what))?;
            part.trim().parse().ok()
        };
        let (succeeded, failed) = (count("succeeded")?, count("failed")?);
        Some(Self { succeeded, failed, errored: count("errored")?, timeout: count("timeout")? })
    }
}

fn number_after(line: &str, label: &str) -> Option<u32> {
    let (_, rest) = line.split_once(label)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nghttp_shows_is_understood() {
        let text = "\
[  0.006] send HEADERS frame <length=45, flags=0x25, stream_id=13>
          ; END_STREAM | END_HEADERS | PRIORITY
[  0.006] recv (stream_id=13) :status: 404
[  0.006] recv HEADERS frame <length=240, flags=0x04, stream_id=13>
          ; END_HEADERS
[  0.006] recv DATA frame <length=2, flags=0x01, stream_id=13>
          ; END_STREAM
[  0.007] recv RST_STREAM frame <length=4, flags=0x00, stream_id=15>
          (error_code=INTERNAL_ERROR(0x02))
[  0.008] send GOAWAY frame <length=8, flags=0x00, stream_id=0>
          (last_stream_id=0, error_code=NO_ERROR(0x00), opaque_data(0)=[])
";
        let session = Session::read(text);
        assert_eq!(session.statuses, BTreeMap::from([(13, 404)]));
        assert_eq!(session.ended, [13]);
        assert_eq!(session.broken.len(), 1, "{session:?}");
        assert!(session.broken[0].contains("INTERNAL_ERROR"));
    }

    #[test]
    fn what_h2load_counts_is_understood() {
        let text = "finished in 81.25ms\nrequests: 20 total, 20 started, 20 done, 18 succeeded, \
                    2 failed, 1 errored, 0 timeout\n";
        let count = Count { succeeded: 18, failed: 2, errored: 1, timeout: 0 };
        assert_eq!(Count::read(text), Some(count));
        assert_eq!(Count::read("unable to connect"), None);
    }
}
