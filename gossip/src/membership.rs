//! Who is there: chitchat, watched and started anew when it dies.
//!
//! chitchat is asked for nothing else. It never carries an event; the positions among a member's
//! facts are hints. What it cannot do, by design or by its known faults, others do:
//!
//! - its datagrams are sealed and cut by `transport.rs`, since one unsealed datagram of a stranger
//!   could end its task;
//! - a member that holds the key could do so still, so its task is watched, and started anew under a
//!   larger generation, never under the same one, which its peers would take for a stale copy; whom
//!   it knew stays known and is asked first;
//! - members it believes dead stay known until it forgets them, after 15 minutes: when a partition
//!   heals, events must not wait for the failure detector;
//! - of a node that was restarted it knows several generations for a while; the newest counts.
//!
//! Digests are of protocol V1 (compressed: 16 bytes a node instead of 55 to 91). V0 is for clusters
//! with members older than chitchat 0.12, of which this program has none.

pub(crate) mod facts;
mod remembered;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wcdn_proto::{NodeId, Position, Region};

use crate::{
    member::{Member, Role},
    metrics::GossipMetrics,
    positions::Positions,
    transport::SealedTransport,
};

use self::remembered::Remembered;

/// Silence longer than this is no sample of how often a member is heard: after a partition of 10 s
/// the mean would take minutes to become small again.
const MAX_SILENCE: Duration = Duration::from_secs(3);

/// How long the dead are remembered. Hours would make digests outgrow a datagram in a cluster whose
/// nodes restart often.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// Between two starts: a fault that comes back at once must not burn a core.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How long chitchat may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The name of every cluster of edges and control planes: what keeps clusters apart is their key.
pub const CLUSTER: &str = "wcdn";

/// The members known, each once, by name; this node is among them.
pub type Members = Arc<[Member]>;

/// Who this node is, and whom it asks first.
#[derive(Debug, Clone)]
pub struct MembershipSettings {
    /// The cluster's name; members of another are strangers.
    pub cluster: String,
    /// This node's name.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// Where others reach its socket.
    pub advertise: SocketAddr,
    /// Where nodes of its region ask it for blobs, if they are to.
    pub peer: Option<SocketAddr>,
    /// Members to ask first, as `host:port`; all addresses of a name count, and names are looked up
    /// again each minute. Two in each region suffice.
    pub seeds: Vec<String>,
    /// Between two rounds of gossip. A second finds a new member in two or three, and costs a node
    /// among 300 about 30 kB/s.
    pub interval: Duration,
}

impl MembershipSettings {
    /// Of a node that asks nobody first, with a round each second.
    pub fn new(cluster: &str, node: NodeId, region: Region, advertise: SocketAddr) -> Self {
        let (cluster, seeds) = (cluster.to_owned(), Vec::new());
        let interval = Duration::from_secs(1);
        Self { cluster, node, region, advertise, peer: None, seeds, interval }
    }
}

/// The task that keeps chitchat alive.
#[derive(Debug)]
pub(crate) struct Membership {
    /// Who this node is.
    pub(crate) settings: MembershipSettings,
    /// What it does.
    pub(crate) role: Role,
    /// What chitchat's messages travel over.
    pub(crate) transport: SealedTransport,
    /// What is told of this node.
    pub(crate) positions: Arc<Positions>,
    /// Where the members are published.
    pub(crate) members: watch::Sender<Members>,
    /// Where the highest head that a member tells of is published: a hint, and maybe a lie.
    pub(crate) head_hint: watch::Sender<Position>,
    /// What is counted.
    pub(crate) metrics: Arc<GossipMetrics>,
}

enum End {
    Stopped,
    Died,
}

impl Membership {
    /// Runs until told to stop.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut generation = 0;
        let mut remembered = Remembered::default();
        loop {
            generation = next_generation(generation);
            // It looks up the names of seeds, which may take long.
            let start = shutdown.run_until_cancelled(self.start(generation, &remembered)).await;
            match start {
                None => return,
                Some(Ok(handle)) => {
                    let end = self.attend(&handle, &remembered, &shutdown).await;
                    // A task that died has told of it already.
                    drop(time::timeout(STOP_TIMEOUT, handle.shutdown()).await);
                    if matches!(end, End::Stopped) {
                        return;
                    }
                    remembered = Remembered::from(self.members.borrow().clone());
                }
                Some(Err(error)) => error!(%error, "membership cannot start"),
            }
            self.metrics.membership_restarts.inc();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = time::sleep(RESTART_PAUSE) => {}
            }
        }
    }

    async fn start(&self, generation: u64, remembered: &Remembered) -> io::Result<ChitchatHandle> {
        let MembershipSettings { cluster, node, advertise, seeds, interval, .. } = &self.settings;
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(node.as_str(), generation, *advertise),
            cluster_id: cluster.clone(),
            gossip_interval: *interval,
            listen_addr: *advertise,
            seed_nodes: seeds.iter().cloned().chain(remembered.seeds()).collect(),
            failure_detector_config: FailureDetectorConfig {
                max_interval: MAX_SILENCE,
                initial_interval: *interval,
                dead_node_grace_period: GRACE,
                ..FailureDetectorConfig::default()
            },
            marked_for_deletion_grace_period: GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let facts = facts::of(&self.settings, self.role, &self.positions);
        let handle = spawn_chitchat(config, facts, &self.transport).await;
        let handle = handle.map_err(|error| io::Error::other(format!("{error:#}")))?;
        info!(%node, generation, "membership started");
        Ok(handle)
    }

    /// Tells chitchat of this node, and everybody of the members, once a round.
    async fn attend(
        &self,
        handle: &ChitchatHandle,
        remembered: &Remembered,
        shutdown: &CancellationToken,
    ) -> End {
        let died = handle.termination_watcher();
        tokio::pin!(died);
        let mut changes = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let mut round = time::interval(self.settings.interval);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return End::Stopped,
                end = &mut died => {
                    let error = end.err().map(|error| format!("{error:#}"));
                    warn!(error, "membership died, starting it anew");
                    return End::Died;
                }
                _ = round.tick() => {}
                // Its sender lives in chitchat, which `handle` holds.
                Ok(()) = changes.changed() => {}
            }
            let (members, head) = handle.with_chitchat(|chitchat| self.look(chitchat)).await;
            self.publish(remembered.complete(members));
            self.head_hint.send_if_modified(|before| std::mem::replace(before, head) != head);
        }
    }

    fn look(&self, chitchat: &mut Chitchat) -> (Vec<Member>, Position) {
        let own = chitchat.self_node_state();
        for (key, value) in facts::of(&self.settings, self.role, &self.positions) {
            own.set(key, value);
        }
        self.look_for_namesake(chitchat);
        let heads = chitchat.node_states().values().filter_map(facts::head);
        (members(chitchat), heads.max().unwrap_or(Position::ORIGIN))
    }

    /// Two nodes of one name would be one in every receipt.
    fn look_for_namesake(&self, chitchat: &Chitchat) {
        let own = chitchat.self_chitchat_id();
        let is_namesake =
            |id: &&ChitchatId| id.node_id == own.node_id && id.generation_id > own.generation_id;
        let namesake = chitchat.live_nodes().find(is_namesake);
        let before = self.metrics.namesake.set(i64::from(namesake.is_some()));
        if let Some(id) = namesake
            && before == 0
        {
            warn!(node = %own.node_id, address = %id.gossip_advertise_addr, "another node bears this name");
        }
    }

    fn publish(&self, members: Vec<Member>) {
        let count = |members: usize| i64::try_from(members).unwrap_or(i64::MAX);
        let live = members.iter().filter(|member| member.is_live).count();
        self.metrics.members_live.set(count(live));
        self.metrics.members_known.set(count(members.len()));
        self.members.send_if_modified(|before| {
            let is_new = **before != *members;
            if is_new {
                *before = members.into();
            }
            is_new
        });
    }
}

/// Everybody of whom enough is known.
fn members(chitchat: &Chitchat) -> Vec<Member> {
    let live: HashSet<_> = chitchat.live_nodes().collect();
    let states = chitchat.node_states().iter();
    newest(states.filter_map(|(id, state)| facts::read(id, state, live.contains(id))))
}

/// Each node once, under the newest generation, and of those that live if any does: what is told of a
/// newer one that nobody hears may be made up. They are given by name, then by generation.
fn newest(generations: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut newest: BTreeMap<NodeId, Member> = BTreeMap::new();
    for member in generations {
        let is_live = |known: &Member| known.is_live;
        if member.is_live || !newest.get(&member.node).is_some_and(is_live) {
            newest.insert(member.node.clone(), member);
        }
    }
    newest.into_values().collect()
}

/// By the clock, so that it grows over restarts of the program; and at least by one, so that it does
/// within one.
fn next_generation(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(last.saturating_add(1))
}

#[cfg(test)]
mod tests;
