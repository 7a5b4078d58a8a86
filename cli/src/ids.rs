//! The ids that a command is about, checked before anything is sent.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use wcdn_proto::{ContentId, InvalidContentId};

use crate::{args::IdArgs, text::plain};

/// Why there are no ids to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidIds {
    #[error("cannot read ids from {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} has more than {MAX_BYTES} bytes; split it", path.display())]
    TooLong { path: PathBuf },
    #[error("no ids: name some, or a file by --from-file")]
    None,
    #[error("{count} ids are more than the {most} that fit into one change; split them")]
    TooMany { count: usize, most: usize },
    #[error("{} of {count} ids are wrong, nothing was sent: {}", wrong.len(), Listed(wrong))]
    Wrong { count: usize, wrong: Vec<Wrong> },
}

/// A text that is no id.
#[derive(Debug)]
pub(crate) struct Wrong {
    text: String,
    /// Its line, if it comes from a file.
    line: Option<usize>,
    cause: InvalidContentId,
}

/// Ten times what 100,000 ids with remarks need.
const MAX_BYTES: u64 = 64 << 20;

/// More than anybody reads.
const MAX_LISTED: usize = 100;

/// All ids of the arguments and the file, each once, in order; at least one, at most `most`.
pub(crate) fn read(args: &IdArgs, most: usize) -> Result<Vec<ContentId>, InvalidIds> {
    let file = args.from_file.as_deref().map(contents).transpose()?.unwrap_or_default();
    let named = args.ids.iter().map(|text| (text.as_str(), None));
    checked(named.chain(words(&file)), most)
}

fn contents(path: &Path) -> Result<String, InvalidIds> {
    let unreadable = |cause| InvalidIds::Unreadable { path: path.to_owned(), cause };
    let mut text = String::new();
    let mut read = |source: &mut dyn io::Read| source.take(MAX_BYTES + 1).read_to_string(&mut text);
    if path.as_os_str() == "-" {
        read(&mut io::stdin().lock()).map_err(unreadable)?;
    } else {
        read(&mut File::open(path).map_err(unreadable)?).map_err(unreadable)?;
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(InvalidIds::TooLong { path: path.to_owned() });
    }
    Ok(text)
}

fn words(file: &str) -> impl Iterator<Item = (&str, Option<usize>)> {
    (1..).zip(file.lines()).flat_map(|(number, line)| {
        let ids = line.split('#').next().unwrap_or_default();
        ids.split_whitespace().map(move |word| (word, Some(number)))
    })
}

fn checked<'a>(
    words: impl Iterator<Item = (&'a str, Option<usize>)>,
    most: usize,
) -> Result<Vec<ContentId>, InvalidIds> {
    let (mut ids, mut seen, mut wrong, mut count) = (Vec::new(), HashSet::new(), Vec::new(), 0);
    for (text, line) in words {
        count += 1;
        match text.parse::<ContentId>() {
            Ok(id) if seen.insert(id) => ids.push(id),
            Ok(_again) => {}
            Err(cause) => wrong.push(Wrong { text: text.chars().take(80).collect(), line, cause }),
        }
    }
    match ids.len() {
        _ if !wrong.is_empty() => Err(InvalidIds::Wrong { count, wrong }),
        0 => Err(InvalidIds::None),
        count if count > most => Err(InvalidIds::TooMany { count, most }),
        _ => Ok(ids),
    }
}

struct Listed<'a>(&'a [Wrong]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, wrong) in self.0.iter().take(MAX_LISTED).enumerate() {
            f.write_str(if n == 0 { "" } else { "; " })?;
            if let Some(line) = wrong.line {
                write!(f, "line {line}, ")?;
            }
            write!(f, "\"{}\" ({})", plain(&wrong.text), wrong.cause)?;
        }
        match self.0.len().checked_sub(MAX_LISTED) {
            Some(more) if more > 0 => write!(f, "; and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wcdn_proto::BlobId;

    use super::*;

    fn id(byte: u8) -> String {
        BlobId::from_bytes([byte; 32]).to_string()
    }

    proptest! {
        #[test]
        fn any_file_gives_ids_or_a_reason(file in "[A-Za-z0-9_#\n -]{0,200}") {
            if let Ok(ids) = checked(words(&file), 10) {
                prop_assert!((1..=10).contains(&ids.len()));
            }
        }
    }

    #[test]
    fn remarks_are_left_out_and_an_id_counts_once() {
        let file = format!("# all of them\n{} {}\n\n  {} # again\r\n", id(1), id(2), id(1));
        let ids = checked(words(&file), 10).unwrap();
        assert_eq!(ids.iter().map(ContentId::to_string).collect::<Vec<_>>(), [id(1), id(2)]);
    }

    #[test]
    fn every_wrong_id_is_named_with_its_line() {
        let file = format!("{}\nshort\n{}x", id(1), id(2));
        let error = checked(words(&file), 10).unwrap_err().to_string();
        assert!(error.starts_with("2 of 3 ids are wrong, nothing was sent: line 2, \"short\" ("));
        assert!(error.contains("; line 3, \""), "{error}");
    }

    #[test]
    fn what_does_not_fit_into_one_change_is_refused() {
        let file = [id(1), id(2), id(3)].join(" ");
        let error = checked(words(&file), 2).unwrap_err();
        assert!(matches!(error, InvalidIds::TooMany { count: 3, most: 2 }), "{error}");
    }
}
