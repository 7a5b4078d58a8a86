//! What each peer has under way here.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use wcdn_proto::NodeId;

use crate::{
    config::{Config, Limits},
    edge::clients::{Clients, InFlight, Payer},
};

/// The peers that asked, each with an account of its own: one that is broken cannot take the room of
/// the others.
#[derive(Debug)]
pub(super) struct Accounts {
    clients: Clients,
    known: Mutex<HashMap<NodeId, Payer>>,
    /// Of all who found no room.
    crowd: Payer,
    max_requests: u32,
    /// Requests under way.
    serving: Gauge,
}

/// A request of a peer under way.
#[derive(Debug)]
pub(super) struct Place {
    payer: Payer,
    _in_flight: InFlight,
    serving: Gauge,
}

/// Peers with an account: more than a region has nodes.
const MAX_PEERS: usize = 1_024;

/// The share of all fills that one peer may have begun.
const SHARE: usize = 4;

impl Accounts {
    pub(super) fn new(config: &Config, serving: &Gauge) -> Self {
        let fills = (config.fetch.max_fills / SHARE).max(1);
        let limits = Limits {
            requests_per_second_per_client: 0,
            misses_per_client: 0,
            misses_per_second: 0,
            fills_per_client: u32::try_from(fills).unwrap_or(u32::MAX),
            ..Limits::default()
        };
        let clients = Clients::new(&limits);
        Self {
            known: Mutex::default(),
            crowd: clients.account(),
            clients,
            max_requests: u32::try_from(config.peer.max_requests).unwrap_or(u32::MAX),
            serving: serving.clone(),
        }
    }

    /// Begins a request, unless as many as may be are under way.
    pub(super) fn enter(&self, node: &NodeId) -> Option<Place> {
        let payer = self.payer(node);
        let _in_flight = payer.begin(self.max_requests)?;
        self.serving.inc();
        Some(Place { payer, _in_flight, serving: self.serving.clone() })
    }

    fn payer(&self, node: &NodeId) -> Payer {
        let mut known = self.known.lock();
        if known.len() >= MAX_PEERS && !known.contains_key(node) {
            known.retain(|_, payer| !payer.is_idle());
        }
        match known.get(node) {
            Some(payer) => payer.clone(),
            None if known.len() >= MAX_PEERS => self.crowd.clone(),
            None => known.entry(node.clone()).or_insert(self.clients.account()).clone(),
        }
    }
}

impl Place {
    /// Who has a fill begun.
    pub(super) fn payer(&self) -> &Payer {
        &self.payer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.serving.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_that_asks_for_too_much_does_not_keep_another_out() {
        let mut config = Config::default();
        config.peer.max_requests = 2;
        config.fetch.max_fills = 12;
        let serving = Gauge::default();
        let accounts = Accounts::new(&config, &serving);
        let [one, other] = ["one", "other"].map(|name| name.parse::<NodeId>().unwrap());
        let places: Vec<_> = (0..2).filter_map(|_| accounts.enter(&one)).collect();
        assert_eq!(places.len(), 2);
        assert!(accounts.enter(&one).is_none());
        let fills: Vec<_> = (0..4).filter_map(|_| places[0].payer().charge().ok()).collect();
        assert_eq!(fills.len(), 3, "a quarter of all");
        let place = accounts.enter(&other).expect("another peer has its own");
        assert!(place.payer().charge().is_ok());
        drop(places);
        assert!(accounts.enter(&one).is_some());
        drop(place);
        assert_eq!(serving.get(), 0);
    }

    #[test]
    fn peers_that_are_gone_give_up_their_accounts() {
        let accounts = Accounts::new(&Config::default(), &Gauge::default());
        let node = |n: usize| format!("edge-{n}").parse::<NodeId>().unwrap();
        let staying = accounts.enter(&node(0)).unwrap();
        for n in 1..=MAX_PEERS {
            assert!(accounts.enter(&node(n)).is_some());
        }
        let known = accounts.known.lock();
        assert!(known.len() == 2 && known.contains_key(&node(0)), "{}", known.len());
        drop((known, staying));
    }
}
