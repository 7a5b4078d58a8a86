//! Which nodes of a region a blob belongs to.

use std::{collections::BTreeMap, net::SocketAddr};

use wcdn_gossip::member::Member;
use wcdn_proto::{BlobId, NodeId, Region};

use crate::rendezvous;

/// The live nodes of one region, as one of them sees it.
///
/// Nodes that know of the same ones agree on the owners of every blob. Where they do not, for a member
/// is found or lost within seconds, a blob is fetched once more than it need be, and that is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    nodes: Box<[RingNode]>,
}

/// A node in a [`Ring`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingNode {
    /// Its name.
    pub node: NodeId,
    /// Where its datagrams go.
    pub gossip: SocketAddr,
    /// Where it is asked for blobs; `None` if it is not to be.
    pub peer: Option<SocketAddr>,
}

/// The rings of all regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rings {
    regions: BTreeMap<Region, Ring>,
}

impl Ring {
    /// A ring of these nodes; of several with one name the first counts.
    pub fn new(nodes: impl IntoIterator<Item = RingNode>) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_by(|one, other| one.node.cmp(&other.node));
        nodes.dedup_by(|one, other| one.node == other.node);
        Self { nodes: nodes.into() }
    }

    /// Every node, the one that owns the blob first, then the one that would if that one were gone,
    /// and so on.
    pub fn owners(&self, id: &BlobId) -> Vec<&RingNode> {
        let affinity = |node: &RingNode| rendezvous::affinity(id, node.node.as_str());
        let mut owners: Vec<_> = self.nodes.iter().map(|node| (affinity(node), node)).collect();
        owners.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.node.cmp(&b.node)));
        owners.into_iter().map(|(_, node)| node).collect()
    }

    /// Every node, by name.
    pub fn nodes(&self) -> &[RingNode] {
        &self.nodes
    }
}

impl Rings {
    /// Of these edges. A node knows of itself whatever the others say.
    pub fn of<'a>(
        edges: impl IntoIterator<Item = &'a Member>,
        region: &Region,
        me: &RingNode,
    ) -> Self {
        let mut regions: BTreeMap<Region, Vec<RingNode>> = BTreeMap::new();
        regions.entry(region.clone()).or_default().push(me.clone());
        for member in edges.into_iter().filter(|edge| edge.node != me.node) {
            let Member { node, address, peer, .. } = member;
            let node = RingNode { node: node.clone(), gossip: *address, peer: *peer };
            regions.entry(member.region.clone()).or_default().push(node);
        }
        let ring = |(region, nodes)| (region, Ring::new(nodes));
        Self { regions: regions.into_iter().map(ring).collect() }
    }

    /// The ring of a region, if anybody is known there.
    pub fn region(&self, region: &Region) -> Option<&Ring> {
        self.regions.get(region)
    }

    /// The ring of every region but this one.
    pub fn others<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Ring> {
        self.regions.iter().filter(move |(name, _)| *name != region).map(|(_, ring)| ring)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use wcdn_gossip::member::Role;

    use super::*;

    fn node(name: &str) -> RingNode {
        let gossip = ([10, 0, 0, 1], 1).into();
        RingNode { node: name.parse().unwrap(), gossip, peer: None }
    }

    fn ring(names: &HashSet<String>) -> Ring {
        Ring::new(names.iter().map(|name| node(name)))
    }

    fn id(n: u64) -> BlobId {
        BlobId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn names(owners: &[&RingNode]) -> Vec<String> {
        owners.iter().map(|owner| owner.node.to_string()).collect()
    }

    proptest! {
        #[test]
        fn whoever_leaves_moves_only_what_it_owned_and_keeps_the_order_of_the_rest(
            members in prop::collection::hash_set("[a-z]{1,6}", 2..12),
            n in 0u64..1_000_000,
            leaves in any::<prop::sample::Index>(),
        ) {
            let before = names(&ring(&members).owners(&id(n)));
            prop_assert_eq!(before.len(), members.len());
            let gone = before[leaves.index(before.len())].clone();
            let mut rest = members.clone();
            rest.remove(&gone);
            let after = names(&ring(&rest).owners(&id(n)));
            let kept: Vec<_> = before.into_iter().filter(|name| *name != gone).collect();
            prop_assert_eq!(after, kept);
        }

        #[test]
        fn the_order_in_which_members_are_told_does_not_matter(
            members in prop::collection::vec("[a-c]{1,2}", 0..8),
            n: u64,
        ) {
            let forth = Ring::new(members.iter().map(|name| node(name)));
            let back = Ring::new(members.iter().rev().map(|name| node(name)));
            prop_assert_eq!(names(&forth.owners(&id(n))), names(&back.owners(&id(n))));
        }
    }

    #[test]
    fn blobs_are_spread_evenly_over_the_first_two_owners() {
        const NODES: usize = 5;
        const BLOBS: u64 = 10_000;
        let ring = ring(&(0..NODES).map(|n| format!("edge-{n}")).collect());
        for place in 0..2 {
            let mut owned = vec![0; NODES];
            for n in 0..BLOBS {
                let owner = ring.owners(&id(n))[place];
                owned[ring.nodes().iter().position(|node| node == owner).unwrap()] += 1;
            }
            // Six standard deviations of a binomial are 240.
            assert!(owned.iter().all(|count| (1_760..2_240).contains(count)), "{owned:?}");
        }
    }

    #[test]
    fn each_region_has_a_ring_and_a_node_knows_of_itself() {
        let member = |name: &str, region: &str| Member {
            node: name.parse().unwrap(),
            region: region.parse().unwrap(),
            address: ([10, 0, 0, 2], 2).into(),
            peer: Some(([10, 0, 0, 2], 3).into()),
            role: Role::Edge,
            is_live: true,
        };
        let edges = [member("me", "elsewhere"), member("near", "here"), member("far", "there")];
        let here: Region = "here".parse().unwrap();
        let rings = Rings::of(&edges, &here, &node("me"));
        let all = |ring: &Ring| names(&ring.nodes().iter().collect::<Vec<_>>());
        assert_eq!(all(rings.region(&here).unwrap()), ["me", "near"]);
        assert_eq!(rings.region(&here).unwrap().nodes()[1].peer, edges[1].peer);
        assert_eq!(rings.others(&here).map(all).collect::<Vec<_>>(), [["far"]]);
        assert_eq!(Rings::of([], &here, &node("me")).region(&here).map(all).unwrap(), ["me"]);
    }
}
