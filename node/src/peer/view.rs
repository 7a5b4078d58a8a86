//! What a node knows of the others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;
use wcdn_gossip::member::{Member, Role};
use wcdn_proto::{BlobId, NodeId, Region};

use super::ring::{Ring, RingNode, Rings};

/// The nodes of every region, as this one sees them now. Clones share it.
#[derive(Debug, Clone)]
pub struct View {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    region: Region,
    me: RingNode,
    rings: ArcSwap<Rings>,
    /// Edges that were heard lately, and when for the last time.
    heard: Mutex<HashMap<NodeId, (Member, Instant)>>,
}

/// How long a node that is no longer heard counts as there. A busy one falls silent for a moment now and
/// then, and every blob that it owns would be fetched once more; one that is dead is passed over by
/// whoever asks it.
const GRACE: Duration = Duration::from_secs(5);

impl View {
    /// Of a node that knows of nobody yet.
    pub fn new(region: Region, me: RingNode) -> Self {
        let rings = ArcSwap::from_pointee(Rings::of([], &region, &me));
        Self { shared: Arc::new(Shared { region, me, rings, heard: Mutex::default() }) }
    }

    /// Takes who is there now; whether that changes anything. To be called from time to time.
    pub fn see(&self, members: &[Member], now: Instant) -> bool {
        let Shared { region, me, rings, heard } = &*self.shared;
        let seen = {
            let mut heard = heard.lock();
            let live = members.iter().filter(|member| member.is_live && member.role == Role::Edge);
            heard.extend(live.map(|member| (member.node.clone(), (member.clone(), now))));
            heard.retain(|_, (_, at)| now.saturating_duration_since(*at) <= GRACE);
            Rings::of(heard.values().map(|(member, _)| member), region, me)
        };
        let changes = seen != **rings.load();
        if changes {
            rings.store(Arc::new(seen));
        }
        changes
    }

    /// This node.
    pub fn me(&self) -> &RingNode {
        &self.shared.me
    }

    /// Where it stands.
    pub fn region(&self) -> &Region {
        &self.shared.region
    }

    /// The nodes of this region to which a blob belongs: the first one before all, then the one that it
    /// would belong to without that one, and so on. This node is among them.
    pub fn owners(&self, id: &BlobId) -> Vec<RingNode> {
        self.with_ring(|ring| ring.owners(id).into_iter().cloned().collect())
    }

    /// How many nodes of this region a blob belongs to before this one.
    pub fn rank(&self, id: &BlobId) -> usize {
        let me = &self.shared.me.node;
        self.with_ring(|ring| ring.owners(id).iter().take_while(|owner| owner.node != *me).count())
    }

    /// Every region.
    pub fn rings(&self) -> Arc<Rings> {
        self.shared.rings.load_full()
    }

    /// Looks at this region's ring.
    pub(super) fn with_ring<T>(&self, look: impl FnOnce(&Ring) -> T) -> T {
        let rings = self.shared.rings.load();
        look(rings.region(&self.shared.region).unwrap_or(&Ring::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_silent_for_a_moment_stays_and_one_that_is_dead_goes() {
        let name = |name: &str| name.parse::<NodeId>().unwrap();
        let me = RingNode { node: name("me"), gossip: ([10, 0, 0, 1], 1).into(), peer: None };
        let view = View::new("here".parse().unwrap(), me);
        let other = |is_live| Member {
            node: name("other"),
            region: "here".parse().unwrap(),
            address: ([10, 0, 0, 2], 1).into(),
            peer: None,
            role: Role::Edge,
            is_live,
        };
        let (id, start) = (BlobId::from_bytes([1; 32]), Instant::now());
        assert!(view.see(&[other(true)], start));
        assert!(!view.see(&[other(false)], start + GRACE));
        assert_eq!(view.owners(&id).len(), 2);
        assert!(!view.see(&[other(true)], start + GRACE));
        assert!(!view.see(&[], start + 2 * GRACE));
        assert!(view.see(&[other(false)], start + 2 * GRACE + Duration::from_millis(1)));
        assert_eq!(view.owners(&id).len(), 1);
    }
}
