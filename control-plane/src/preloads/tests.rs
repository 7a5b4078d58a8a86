//! Every blob is fetched once in each region, whoever comes and goes.

use proptest::prelude::*;

use super::*;

fn id(n: u32) -> BlobId {
    BlobId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn name(node: &str) -> NodeId {
    node.parse().unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// Node a1 and a2 of region a, and b1 of region b, in sessions 1, 2 and 3.
fn preloads() -> Preloads {
    let mut preloads = Preloads::default();
    for (session, node) in (1..).zip(["a1", "a2", "b1"]) {
        preloads.entered(&name(node), &region(node.get(..1).unwrap()), session);
    }
    preloads
}

fn begin(preloads: &mut Preloads, count: u32, regions: &[&str]) -> Result<String, Refused> {
    let ids: Vec<_> = (0..count).map(id).collect();
    let regions = regions.iter().map(|name| region(name)).collect();
    preloads.begin(&ids, regions, Instant::now(), 0)
}

fn done(piece: &edge::Preload) -> Vec<edge::Preloaded> {
    let outcome = |id: &bytes::Bytes| edge::Preloaded {
        job: piece.job,
        id: id.clone(),
        length: 10,
        failure: String::new(),
    };
    piece.ids.iter().map(outcome).collect()
}

#[test]
fn a_few_blobs_are_shared_by_the_nodes_of_each_region() {
    let mut preloads = preloads();
    let job = begin(&mut preloads, 4, &[]).unwrap();
    let first = preloads.take(&name("a1"), 1).unwrap();
    let second = preloads.take(&name("a2"), 2).unwrap();
    let others = preloads.take(&name("b1"), 3).unwrap();
    assert_eq!([&first, &second, &others].map(|piece| piece.ids.len()), [2, 2, 4]);
    assert!(preloads.take(&name("a1"), 1).is_none(), "it has its part");
    for (node, session, piece) in [("a1", 1, &first), ("a2", 2, &second), ("b1", 3, &others)] {
        assert!(!preloads.standing(&job).unwrap().settled);
        preloads.reported(&name(node), session, &done(piece));
    }
    let standing = preloads.standing(&job).unwrap();
    assert!(standing.settled);
    let told = standing.regions.iter().map(|it| (it.wanted, it.done, it.failed, it.bytes));
    assert_eq!(told.collect::<Vec<_>>(), [(4, 4, 0, 40), (4, 4, 0, 40)]);
}

#[test]
fn a_node_takes_no_more_than_it_may_before_it_tells_what_became_of_it() {
    let mut preloads = preloads();
    begin(&mut preloads, 1_000, &["b"]).unwrap();
    let pieces: Vec<_> = std::iter::from_fn(|| preloads.take(&name("b1"), 3)).collect();
    assert_eq!(pieces.iter().map(|piece| piece.ids.len()).collect::<Vec<_>>(), [PIECE, PIECE]);
    assert!(preloads.take(&name("a1"), 1).is_none(), "it is not for this region");
    preloads.reported(&name("b1"), 3, &done(&pieces[0])[..1]);
    assert_eq!(preloads.take(&name("b1"), 3).unwrap().ids.len(), 1);
}

#[test]
fn what_failed_is_named_and_what_another_took_is_not_its_to_tell() {
    let mut preloads = preloads();
    let job = begin(&mut preloads, 1, &["a"]).unwrap();
    let piece = preloads.take(&name("a1"), 1).unwrap();
    let failed = edge::Preloaded { failure: "gone\n".to_owned(), ..done(&piece).remove(0) };
    preloads.reported(&name("a2"), 2, std::slice::from_ref(&failed));
    preloads.reported(&name("a1"), 7, std::slice::from_ref(&failed));
    assert!(!preloads.standing(&job).unwrap().settled);
    let settled = preloads.reported(&name("a1"), 1, &[failed.clone(), failed]);
    assert_eq!(settled, Settled { done: 0, failed: 1 });
    let standing = preloads.standing(&job).unwrap();
    assert_eq!((standing.settled, standing.regions[0].failed), (true, 1));
    assert_eq!(standing.failures[0].reason, "a1: gone ");
}

#[test]
fn no_preload_begins_where_there_is_no_node_or_no_room() {
    let mut preloads = preloads();
    assert_eq!(begin(&mut preloads, 1, &["c"]), Err(Refused::NoNodes(Some(region("c")))));
    assert_eq!(begin(&mut Preloads::default(), 1, &[]), Err(Refused::NoNodes(None)));
    for _ in 0..MAX_JOBS {
        begin(&mut preloads, 1, &["a"]).unwrap();
    }
    assert_eq!(begin(&mut preloads, 1, &["a"]), Err(Refused::Full));
    let piece = preloads.take(&name("a1"), 1).unwrap();
    preloads.reported(&name("a1"), 1, &done(&piece));
    begin(&mut preloads, 1, &["a"]).unwrap();
    preloads.sweep(Instant::now() + KEPT);
    assert!(preloads.jobs.is_empty() && preloads.unsettled == 0);
}

proptest! {
    /// Nodes take, tell, leave and come again; in the end each blob is done once.
    #[test]
    fn every_blob_is_done_once_whoever_comes_and_goes(
        count in 1_u32..300,
        steps in prop::collection::vec((0_usize..2, 0_u8..4), 0..60),
    ) {
        let mut preloads = preloads();
        let job = begin(&mut preloads, count, &["a"]).unwrap();
        let nodes = ["a1", "a2"];
        let (mut sessions, mut pieces) = ([1_u64, 2], [vec![], vec![]]);
        let mut next = 10;
        for (n, step) in steps {
            let node = name(nodes[n]);
            match step {
                0 | 1 => pieces[n].extend(preloads.take(&node, sessions[n])),
                2 => {
                    if let Some(piece) = pieces[n].pop() {
                        preloads.reported(&node, sessions[n], &done(&piece));
                    }
                }
                _ => {
                    preloads.left(&node, sessions[n]);
                    pieces[n].clear();
                    next += 1;
                    sessions[n] = next;
                    preloads.entered(&node, &region("a"), next);
                }
            }
        }
        for (n, node) in nodes.iter().enumerate() {
            let (node, session) = (name(node), sessions[n]);
            while let Some(piece) = pieces[n].pop().or_else(|| preloads.take(&node, session)) {
                preloads.reported(&node, session, &done(&piece));
            }
        }
        let standing = preloads.standing(&job).unwrap();
        prop_assert!(standing.settled);
        prop_assert_eq!((standing.regions[0].wanted, standing.regions[0].done), (count, count));
        prop_assert_eq!(preloads.unsettled, 0);
        prop_assert!(preloads.takers.values().all(|taker| taker.taken == 0));
    }
}
