//! Whom an issuer knows: members first, and few others.

use std::{collections::HashSet, net::SocketAddr};

use wcdn_proto::{NodeId, Region};

use super::{FORGET_AFTER, Heard, IssuerBrain, MAX_NODES, node::Node, sending::LOOK_INTERVAL};
use crate::{
    member::{Member, Role},
    message::{Applied, Standing},
    time::Time,
};

/// The most nodes that only datagrams tell of. Members, and nodes with a session, are always let in.
pub(super) const MAX_STRANGERS: usize = 256;

/// How far in the future a node may say to have started: wall clocks are wrong by less. One that was
/// believed to be of next year would not be heard again for a year.
const MAX_AHEAD: Time = Time::from_hours(24);

/// The least time between two leases for a node: an edge that hears nothing asks each 300 ms.
const POLL_INTERVAL: Time = Time::from_millis(100);

/// How a node came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Membership,
    Session,
    Datagram(SocketAddr),
}

impl IssuerBrain {
    pub(super) fn hear(&mut self, heard: Heard, now: Time) {
        let Heard { node, incarnation, region, is_strict, applied } = heard;
        let applied = Applied::upto(applied);
        let lease = self.nodes.get(&node).map_or(Time::ZERO, |known| known.lease);
        let standing = Standing { node, incarnation, region, is_strict, lease, applied };
        self.note(standing, By::Session, now);
    }

    /// Takes what a datagram of a node tells.
    pub(super) fn listen(&mut self, standing: Standing, from: SocketAddr, now: Time) {
        self.note(standing, By::Datagram(from), now);
    }

    /// Whether a poll of a node is answered: not too often, nor if the node is not known at all.
    pub(super) fn may_poll(&mut self, name: &NodeId, from: SocketAddr, now: Time) -> bool {
        let Some(node) = self.nodes.get_mut(name) else { return false };
        if node.polled.is_some_and(|at| now < at + POLL_INTERVAL) {
            return false;
        }
        node.polled = Some(now);
        self.may_answer(from, now)
    }

    /// Whether something is sent to an address, which may be forged: members' own are paced elsewhere,
    /// and all others share little.
    pub(super) fn may_answer(&mut self, to: SocketAddr, now: Time) -> bool {
        self.addresses.contains(&to) || self.paces.strangers.take(1, now)
    }

    fn note(&mut self, standing: Standing, by: By, now: Time) {
        let Standing { node: name, incarnation, region, is_strict, lease, applied } = standing;
        if by != By::Session && self.is_of_the_future(incarnation, now) {
            return;
        }
        if !self.admit(&name, &region, by, now) {
            return;
        }
        let node = self.nodes.get_mut(&name).expect("it was admitted");
        let before = (node.steps.upto(), node.is_strict);
        let (is_current, is_new) = node.meet(incarnation, by == By::Session);
        if !is_current {
            return;
        }
        (node.region, node.is_strict, node.lease) = (region, is_strict, lease);
        node.heard = Some(now);
        let has_more = node.confirm(&applied);
        match by {
            By::Datagram(from) => {
                node.sender = Some(from);
                node.measure(&self.outbox, now);
            }
            By::Session => node.has_session = true,
            By::Membership => {}
        }
        node.settle(self.commits.head(), now);
        if before != (node.steps.upto(), node.is_strict) {
            self.revision += 1;
        }
        if is_new || has_more {
            self.look_at(now + LOOK_INTERVAL);
        }
    }

    fn is_of_the_future(&self, incarnation: u64, now: Time) -> bool {
        let latest = Time::from_nanos(self.settings.clock_origin_ns) + now + MAX_AHEAD;
        Time::from_nanos(incarnation) > latest
    }

    /// Whether a node is known from now on.
    fn admit(&mut self, name: &NodeId, region: &Region, by: By, now: Time) -> bool {
        if self.nodes.contains_key(name) {
            return true;
        }
        let is_stranger = matches!(by, By::Datagram(_));
        if !self.has_room(is_stranger) {
            self.forget(now);
        }
        if !self.has_room(is_stranger) && (is_stranger || !self.evict()) {
            return false;
        }
        self.nodes.insert(name.clone(), Node::new(region.clone(), &self.outbox));
        self.revision += 1;
        true
    }

    fn has_room(&self, is_stranger: bool) -> bool {
        let strangers = || self.nodes.values().filter(|node| node.is_stranger()).count();
        self.nodes.len() < MAX_NODES && !(is_stranger && strangers() >= MAX_STRANGERS)
    }

    /// Forgets the stranger that was silent for longest.
    fn evict(&mut self) -> bool {
        let strangers = self.nodes.iter().filter(|(_, node)| node.is_stranger());
        let longest = strangers.min_by_key(|(_, node)| node.heard).map(|(name, _)| name.clone());
        longest.and_then(|name| self.nodes.remove(&name)).is_some()
    }

    fn forget(&mut self, now: Time) {
        self.nodes.retain(|_, node| {
            let silent = now.saturating_sub(node.heard.unwrap_or_default());
            node.member.is_some() || silent < FORGET_AFTER
        });
    }

    pub(super) fn meet(&mut self, members: Vec<Member>, now: Time) {
        let others = members.into_iter().filter(|member| member.node != self.settings.node);
        let (issuers, edges): (Vec<_>, Vec<_>) =
            others.partition(|member| member.role == Role::Issuer);
        let names: HashSet<&NodeId> = edges.iter().map(|member| &member.node).collect();
        for (name, node) in &mut self.nodes {
            node.member = node.member.filter(|_| names.contains(name));
        }
        self.issuers = issuers.iter().map(|member| member.address).collect();
        self.addresses = issuers.iter().chain(&edges).map(|member| member.address).collect();
        for Member { node: name, region, address, is_live, .. } in edges {
            if self.admit(&name, &region, By::Membership, now) {
                let node = self.nodes.get_mut(&name).expect("it was admitted");
                (node.member, node.region) = (Some((address, is_live)), region);
            }
        }
        self.forget(now);
        self.revision += 1;
        self.look_at(now);
    }
}
