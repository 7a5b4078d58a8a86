//! Whose folder it is, and how often it was opened: `node` = the node's name, a space, and the number
//! of its latest start.

use std::{
    io::{self, ErrorKind},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use wcdn_proto::NodeId;

use super::{read, replace};

const OWNER: &str = "node";

/// Takes the folder for this node. The number of this start: the time, in nanoseconds, or one more
/// than the latest, should the clock have been set back.
///
/// # Errors
/// When it is another node's, or the disk's.
pub(super) fn claim(dir: &Path, node: &NodeId) -> io::Result<u64> {
    let text = read(&dir.join(OWNER))?;
    let latest = match parse(&text) {
        Some((owner, _)) if owner != node.as_str() => {
            let (dir, problem) = (dir.display(), ErrorKind::InvalidInput);
            let text =
                format!("{dir} is of node {owner}, this is {node}; each needs a folder of its own");
            return Err(io::Error::new(problem, text));
        }
        Some((_, latest)) => latest,
        None => 0,
    };
    let incarnation = by_clock().max(latest.saturating_add(1));
    replace(dir, OWNER, format!("{node} {incarnation}\n").as_bytes())?;
    Ok(incarnation)
}

/// The number of a start of a node that keeps nothing.
pub(crate) fn by_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn parse(text: &[u8]) -> Option<(&str, u64)> {
    let (node, number) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
    Some((node, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_start_has_a_larger_number_even_if_the_clock_was_set_back() {
        let home = tempfile::tempdir().unwrap();
        let node: NodeId = "edge-1".parse().unwrap();
        let first = claim(home.path(), &node).unwrap();
        assert!(claim(home.path(), &node).unwrap() > first);
        let ahead = by_clock() + (1 << 60);
        replace(home.path(), OWNER, format!("edge-1 {ahead}\n").as_bytes()).unwrap();
        assert_eq!(claim(home.path(), &node).unwrap(), ahead + 1);
    }

    #[test]
    fn a_folder_of_another_node_is_refused() {
        let home = tempfile::tempdir().unwrap();
        claim(home.path(), &"edge-1".parse().unwrap()).unwrap();
        let refused = claim(home.path(), &"edge-2".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("edge-1") && refused.contains("edge-2"), "{refused}");
        assert!(claim(home.path(), &"edge-1".parse().unwrap()).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _parsed = parse(&bytes).is_some();
        }
    }
}
