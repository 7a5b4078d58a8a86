//! A Redis server, a replica of it, and what may come between them.

use std::net::{Ipv4Addr, SocketAddr};

use wcdn_dev::{Topology, ports};
use wcdn_proto::BlobId;

use super::Redis;
use crate::{eventually, relay::Relay};

/// A server, and another one that follows it. Edges come to one address, which leads to the one that is
/// master.
#[derive(Debug)]
pub struct RedisPair {
    /// Where the edges are served first.
    pub master: Redis,
    /// What follows it.
    pub replica: Redis,
    replica_at: SocketAddr,
    way: Relay,
    link: Relay,
}

impl RedisPair {
    /// Starts both, empty.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start() -> Self {
        let [master_at, replica_at] = [(); 2].map(|()| {
            SocketAddr::from((Ipv4Addr::LOCALHOST, ports::quiet().expect("a free port")))
        });
        let master = Redis::with(&["--port", &master_at.port().to_string()]).await;
        let link = Relay::bind().await.expect("a port");
        link.lead_to(master_at);
        let of = format!("127.0.0.1 {}", link.address().port());
        let port = replica_at.port().to_string();
        let replica = Redis::with(&["--port", &port, "--replicaof", &of]).await;
        let way = Relay::bind().await.expect("a port");
        way.lead_to(master_at);
        Self { master, replica, replica_at, way, link }
    }

    /// Makes every edge of a system use it.
    pub fn serve(&self, topology: &mut Topology) {
        self.master.serve(topology);
        topology.edge.redis.urls = vec![format!("redis://{}", self.way.address())];
    }

    /// Waits until the replica has the records of these, then lets it hear nothing more.
    pub async fn replicate(&self, ids: &[BlobId]) {
        for id in ids {
            eventually("the replica has the blob", || self.replica.has(id)).await;
        }
        self.link.cut();
    }

    /// The master dies, and the replica takes its place as it is.
    pub async fn fail_over(&mut self) {
        self.master.kill();
        let alone = redis::cmd("REPLICAOF").arg("NO").arg("ONE").clone();
        self.replica.ask::<()>(&alone).await;
        self.way.lead_to(self.replica_at);
        self.way.sever();
    }
}
