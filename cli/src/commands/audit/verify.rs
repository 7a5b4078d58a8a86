//! Checking an exported audit log, away from any control plane.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;
use wcdn_proto::audit::{AuditChain, AuditHash, AuditHead, AuditLine, BrokenChain};

use crate::{args::ChainEnd, commands::Outcome, failure::Failure, output::Output};

/// Bytes of a line: an entry has some kilobytes at most.
const MAX_LINE: u64 = 1 << 20;

/// Why a file is no whole log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error("cannot read {file}")]
    Read {
        file: String,
        #[source]
        cause: io::Error,
    },
    #[error("line {line} of {file} is no line of an audit log")]
    Line {
        file: String,
        line: u64,
        #[source]
        cause: Option<serde_json::Error>,
    },
    #[error("{file} is not whole: line {line}: {broken}")]
    Broken { file: String, line: u64, broken: BrokenChain },
    #[error("line {line} of {file} follows the head, which is the last line")]
    AfterHead { file: String, line: u64 },
    #[error("{file} has no head: entries may be missing at its end; export it without a filter")]
    NoHead { file: String },
    #[error("the head of {file} was not signed by {key}")]
    Signature { file: String, key: String },
    #[error("{key:?} is no public key: it has 64 hexadecimal digits")]
    Key { key: String },
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    first: u64,
    last: u64,
    hash: AuditHash,
    issuer_key: String,
    is_key_given: bool,
}

/// Checks a file; "-" is standard input.
pub(in crate::commands) fn run(
    output: &Output,
    file: &Path,
    issuer_key: Option<&str>,
    after: Option<ChainEnd>,
) -> Result<Outcome, Failure> {
    let name = file.display().to_string();
    let found = match name.as_str() {
        "-" => verify("standard input", io::stdin().lock(), issuer_key, after),
        _ => match File::open(file) {
            Ok(opened) => verify(&name, BufReader::new(opened), issuer_key, after),
            Err(cause) => Err(VerifyError::Read { file: name, cause }),
        },
    };
    let (head, first) = found?;
    let document = Document {
        first,
        last: head.seq,
        hash: head.hash,
        issuer_key: head.issuer,
        is_key_given: issuer_key.is_some(),
    };
    if output.is_json() {
        output.document(&document)?;
        return Ok(Outcome::Done);
    }
    let Document { first, last, hash, issuer_key, is_key_given } = document;
    output.line(&format!("whole: entries {first} to {last}, none changed, removed or moved"))?;
    output.line(&format!("the end: {last}:{hash}"))?;
    if !is_key_given {
        output.remark(&format!(
            "signed by {issuer_key}: compare it with what `wcdn-control-plane issuer-key` prints, or give \
             that by --issuer-key"
        ))?;
    }
    if first > 1 {
        output.remark(&format!("what came before entry {first} is not in this file"))?;
    }
    Ok(Outcome::Done)
}

/// The head of a whole log, and its first entry.
fn verify(
    file: &str,
    lines: impl BufRead,
    issuer_key: Option<&str>,
    after: Option<ChainEnd>,
) -> Result<(AuditHead, u64), VerifyError> {
    let name = || file.to_owned();
    let mut chain = after.map_or_else(AuditChain::default, |it| AuditChain::after(it.seq, it.hash));
    let mut head = None;
    let mut lines = lines;
    for line in 1.. {
        let Some(text) = next(&mut lines, file, line)? else { break };
        if head.is_some() {
            return Err(VerifyError::AfterHead { file: name(), line });
        }
        let broken = |broken| VerifyError::Broken { file: name(), line, broken };
        let parsed = AuditLine::parse(&text);
        let parsed =
            parsed.map_err(|cause| VerifyError::Line { file: name(), line, cause: Some(cause) })?;
        match parsed {
            AuditLine::Entry(entry) => chain.follow(&entry).map_err(broken)?,
            AuditLine::Head { head: last } => {
                chain.reaches(&last).map_err(broken)?;
                head = Some(last);
            }
        }
    }
    let head = head.ok_or_else(|| VerifyError::NoHead { file: name() })?;
    let key = issuer_key.unwrap_or(&head.issuer);
    let signed = AuditHead::message(head.seq, head.at_ms, &head.hash);
    let public = bytes(key).filter(|it| it.len() == 32);
    let public = public.ok_or_else(|| VerifyError::Key { key: key.chars().take(80).collect() })?;
    let signature = bytes(&head.signature).unwrap_or_default();
    if UnparsedPublicKey::new(&ED25519, public).verify(&signed, &signature).is_err() {
        return Err(VerifyError::Signature { file: name(), key: key.to_owned() });
    }
    let first = chain.first().unwrap_or(0);
    Ok((head, first))
}

/// The next line, without its end.
fn next(lines: &mut impl BufRead, file: &str, line: u64) -> Result<Option<String>, VerifyError> {
    let mut text = Vec::new();
    let mut part = io::Read::take(&mut *lines, MAX_LINE);
    let read = part.read_until(b'\n', &mut text);
    let read = read.map_err(|cause| VerifyError::Read { file: file.to_owned(), cause })?;
    if read == 0 {
        return Ok(None);
    }
    let is_whole = text.last() == Some(&b'\n') || (read as u64) < MAX_LINE;
    let text = String::from_utf8(text).ok().filter(|_| is_whole);
    let wrong = || VerifyError::Line { file: file.to_owned(), line, cause: None };
    text.map(|text| Some(text.trim_end().to_owned())).ok_or_else(wrong)
}

/// Hexadecimal digits as bytes.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;
    use wcdn_proto::audit::AuditEntry;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn log(count: u64) -> String {
        let mut previous = AuditHash::default();
        let mut text = String::new();
        for seq in 1..=count {
            let detail = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
            let mut entry = AuditEntry {
                seq,
                at_ms: seq,
                class: "system".to_owned(),
                action: "a".to_owned(),
                outcome: "done".to_owned(),
                key_id: String::new(),
                key_name: String::new(),
                address: String::new(),
                request_id: String::new(),
                target: String::new(),
                count: 1,
                detail,
                previous,
                hash: AuditHash::default(),
            };
            entry.hash = entry.digest();
            previous = entry.hash;
            text += &(serde_json::to_string(&AuditLine::Entry(entry)).unwrap() + "\n");
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let signature = pair.sign(&AuditHead::message(count, 9, &previous));
        let head = AuditHead {
            seq: count,
            at_ms: 9,
            hash: previous,
            issuer: hex(pair.public_key().as_ref()),
            signature: hex(signature.as_ref()),
        };
        text + &serde_json::to_string(&AuditLine::Head { head }).unwrap() + "\n"
    }

    fn told(text: &str, key: Option<&str>) -> Result<(u64, u64), String> {
        let found = verify("f", text.as_bytes(), key, None);
        found.map(|(head, first)| (first, head.seq)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole_and_whatever_is_done_to_it_shows() {
        let text = log(5);
        assert_eq!(told(&text, None), Ok((1, 5)));
        let lines: Vec<&str> = text.lines().collect();
        let without = |n: usize| {
            let mut lines = lines.clone();
            lines.remove(n);
            told(&lines.join("\n"), None).unwrap_err()
        };
        assert!(without(2).contains("line 3: entry 4 follows entry 2"), "{}", without(2));
        assert!(without(4).contains("the log ends with entry 4"), "{}", without(4));
        assert!(without(5).contains("has no head"), "{}", without(5));
        let changed = text.replacen("\"count\":1", "\"count\":2", 1);
        assert!(told(&changed, None).unwrap_err().contains("entry 1 was changed"));
        let other = "00".repeat(32);
        assert!(told(&text, Some(&other)).unwrap_err().contains("was not signed by"));
        assert!(told(&text, Some("x")).unwrap_err().contains("is no public key"));
        let twice = format!("{text}{text}");
        assert!(told(&twice, None).unwrap_err().contains("line 7 of f follows the head"));
        assert!(told("nonsense", None).unwrap_err().contains("line 1 of f is no line"));
    }

    #[test]
    fn a_later_file_goes_on_where_an_earlier_one_ended() {
        let text = log(5);
        let entry = |n: usize| match AuditLine::parse(text.lines().nth(n).unwrap()).unwrap() {
            AuditLine::Entry(entry) => entry,
            AuditLine::Head { .. } => panic!("a head"),
        };
        let rest: String = text.lines().skip(3).map(|line| format!("{line}\n")).collect();
        let after = ChainEnd { seq: 3, hash: entry(2).hash };
        assert!(verify("f", rest.as_bytes(), None, Some(after)).is_ok());
        let other = ChainEnd { seq: 3, hash: entry(1).hash };
        assert!(verify("f", rest.as_bytes(), None, Some(other)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_log_or_not(bytes: Vec<u8>) {
            prop_assert!(verify("f", &bytes[..], None, None).is_err());
        }
    }
}
