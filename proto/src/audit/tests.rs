use proptest::prelude::*;

use super::*;

/// A chain of so many entries, and its head.
fn chain(count: u64) -> (Vec<AuditEntry>, AuditHead) {
    let mut previous = AuditHash::default();
    let mut entries = Vec::new();
    for seq in 1..=count {
        let mut entry = AuditEntry {
            seq,
            at_ms: 1_000 + seq,
            class: "operation".to_owned(),
            action: "purge".to_owned(),
            outcome: "done".to_owned(),
            key_id: "0123456789".to_owned(),
            key_name: "ci".to_owned(),
            address: "192.0.2.1".to_owned(),
            request_id: "r".to_owned(),
            target: format!("chg_{seq}"),
            count: 1,
            detail: RawValue::from_string(format!("{{\"ids\":{seq}}}")).unwrap(),
            previous,
            hash: AuditHash::default(),
        };
        entry.hash = entry.digest();
        previous = entry.hash;
        entries.push(entry);
    }
    let (issuer, signature) = (String::new(), String::new());
    (entries, AuditHead { seq: count, at_ms: 9, hash: previous, issuer, signature })
}

fn follow(entries: &[AuditEntry], head: &AuditHead) -> Result<(), BrokenChain> {
    let mut chain = AuditChain::default();
    entries.iter().try_for_each(|entry| chain.follow(entry))?;
    chain.reaches(head)
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    for count in [0, 1, 20] {
        let (entries, head) = chain(count);
        assert_eq!(follow(&entries, &head), Ok(()));
    }
    let (entries, head) = chain(20);
    assert_eq!(follow(&entries[7..], &head), Ok(()), "old entries may be forgotten");
    let mut later = AuditChain::after(7, entries[6].hash);
    entries[7..].iter().try_for_each(|entry| later.follow(entry)).unwrap();
    assert_eq!((later.first(), later.last()), (Some(8), 20));
    let mut gap = AuditChain::after(6, entries[5].hash);
    assert_eq!(gap.follow(&entries[7]), Err(BrokenChain::Begins { seq: 8, expected: 7 }));
}

#[test]
fn a_line_is_read_as_it_was_written_and_whatever_it_does_not_know_is_refused() {
    let (entries, head) = chain(2);
    let line = serde_json::to_string(&AuditLine::Entry(entries[1].clone())).unwrap();
    let Ok(AuditLine::Entry(read)) = AuditLine::parse(&line) else { panic!("{line}") };
    assert_eq!(read.digest(), entries[1].hash);
    let line = serde_json::to_string(&AuditLine::Head { head: head.clone() }).unwrap();
    let Ok(AuditLine::Head { head: read }) = AuditLine::parse(&line) else { panic!("{line}") };
    assert_eq!(read, head);
    let more = line.replacen("{\"seq\"", "{\"more\":1,\"seq\"", 1);
    assert!(AuditLine::parse(&more).is_err(), "{more}");
}

#[test]
fn the_first_entry_follows_nothing() {
    let (mut entries, head) = chain(2);
    entries[0].previous = AuditHash([1; 32]);
    entries[0].hash = entries[0].digest();
    assert_eq!(follow(&entries[..1], &head), Err(BrokenChain::Replaced { seq: 1 }));
}

proptest! {
    #[test]
    fn whatever_is_changed_removed_or_moved_is_found(
        count in 2u64..12,
        at in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        what in 0..16usize,
    ) {
        let (mut entries, head) = chain(count);
        let (at, other) = (at.index(entries.len()), other.index(entries.len()));
        let entry = &mut entries[at];
        match what {
            0 => entry.class.push('x'),
            1 => entry.action.push('x'),
            2 => entry.outcome.push('x'),
            3 => entry.key_id.push('x'),
            4 => entry.key_name.push('x'),
            5 => entry.address.push('x'),
            6 => entry.request_id.push('x'),
            7 => entry.target.push('x'),
            8 => entry.at_ms += 1,
            9 => entry.count += 1,
            10 => entry.detail = RawValue::from_string("{}".to_owned()).unwrap(),
            // As if by somebody who knows how hashes are made.
            11 => {
                entry.target.push('x');
                entry.hash = entry.digest();
            }
            12 => {
                // From one text into the next.
                let taken = entry.key_name.pop().unwrap();
                entry.address.insert(0, taken);
            }
            13 => drop(entries.remove(at)),
            14 => entries.swap(at, other),
            _ => entries.truncate(at),
        }
        // Old entries may be forgotten, from the beginning on.
        let is_allowed = (what == 13 && at == 0) || (what == 14 && at == other);
        prop_assert_eq!(follow(&entries, &head).is_ok(), is_allowed);
    }

    #[test]
    fn any_line_is_read_or_refused(line: String) {
        let _read_or_refused = AuditLine::parse(&line).is_ok();
    }

    #[test]
    fn a_printed_hash_is_read_as_the_same(bytes: [u8; 32]) {
        prop_assert_eq!(AuditHash(bytes).to_string().parse::<AuditHash>().unwrap().0, bytes);
    }
}
