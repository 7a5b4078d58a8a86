//! A whole system under test.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpSocket, UdpSocket};
use wcdn_dev::{Cluster, GossipPlace, Topology};
use wcdn_node::config::OriginSpec;
use wcdn_proto::BlobId;

use crate::{
    client::{Client, Reply},
    operator::Operator,
};

/// A system on free ports, driven through the doors its users have.
#[derive(Debug)]
pub struct Fleet {
    /// A viewer.
    pub client: Client,
    /// The system.
    pub cluster: Cluster,
    held: Option<Held>,
    _home: TempDir,
}

/// The ports of a control plane that does not run: nobody answers there, and nobody else gets them.
#[derive(Debug)]
struct Held {
    tcp: [TcpSocket; 2],
    udp: UdpSocket,
}

/// `length` bytes that do not repeat, different for each `seed`.
pub fn bytes(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    (0..length).map(byte).collect()
}

/// The sum of all lines of a metric on a page whose labels contain `labels`.
pub(crate) fn metric(page: &[u8], name: &str, labels: &str) -> f64 {
    let text = String::from_utf8_lossy(page);
    let lines = text
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(labels));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

impl Fleet {
    /// Three regions and a small Walrus.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with something else about it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn with(change: impl FnOnce(&mut Topology)) -> Self {
        Box::pin(Self::among(Vec::new(), change)).await
    }

    /// The same, with the control plane and the edges at these places in the gossip.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn among(places: Vec<GossipPlace>, change: impl FnOnce(&mut Topology)) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut topology = Topology::for_tests();
        change(&mut topology);
        let starting = Box::pin(Cluster::start_among(&topology, places));
        let cluster = starting.await.expect("the system starts");
        let fleet = Self { client: Client::default(), cluster, held: None, _home: home };
        for edge in fleet.cluster.edges() {
            let url = format!("{}/readyz", edge.admin_url);
            crate::eventually("the edge is ready", || async {
                fleet.client.get(&url).await.status == StatusCode::OK
            })
            .await;
        }
        fleet
    }

    /// Stores a blob through the publisher.
    ///
    /// # Panics
    /// When the publisher refuses.
    pub async fn store(&self, body: Bytes) -> BlobId {
        let url = format!("{}/v1/blobs", self.publisher());
        let reply = self.client.request(Method::PUT, &url).body(body).send().await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let stored = reply.json();
        let id = stored["newlyCreated"]["blobObject"]["blobId"]
            .as_str()
            .or(stored["alreadyCertified"]["blobId"].as_str());
        id.expect("a blob id").parse().expect("a valid blob id")
    }

    /// Stores a quilt of `(name, content, content type)` through the publisher.
    ///
    /// # Panics
    /// When the publisher refuses.
    pub async fn store_quilt(&self, files: &[(&str, Bytes, &str)]) -> (BlobId, Value) {
        let url = format!("{}/v1/quilts", self.publisher());
        let metadata: Vec<Value> = files
            .iter()
            .map(|(name, _, media)| json!({"identifier": name, "tags": {"content-type": media}}))
            .collect();
        let mut form = Vec::new();
        let mut part = |name: &str, content: &[u8]| {
            let head =
                format!("--frontier\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
            form.extend_from_slice(head.as_bytes());
            form.extend_from_slice(content);
            form.extend_from_slice(b"\r\n");
        };
        files.iter().for_each(|(name, content, _)| part(name, content));
        part("_metadata", Value::from(metadata).to_string().as_bytes());
        form.extend_from_slice(b"--frontier--\r\n");
        let reply = self
            .client
            .request(Method::PUT, &url)
            .header("content-type", "multipart/form-data; boundary=frontier")
            .body(form)
            .send()
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let stored = reply.json();
        let id = stored["blobStoreResult"]["newlyCreated"]["blobObject"]["blobId"].as_str();
        (id.expect("a quilt id").parse().expect("a valid id"), stored)
    }

    /// What an edge is told to fill from.
    ///
    /// # Panics
    /// Never: aggregators have names.
    pub fn origins(&self) -> Vec<OriginSpec> {
        let standin = self.cluster.standin().expect("a stand-in Walrus");
        let named = (1..).zip(&standin.aggregator_urls).map(|(n, url)| {
            OriginSpec::new(format!("aggregator-{n}").parse().expect("a name"), url.clone())
        });
        named.collect()
    }

    /// Somebody with the key to its control plane.
    ///
    /// # Panics
    /// When that does not run.
    pub fn operator(&self) -> Operator {
        let desk = self.cluster.desk().expect("a control plane");
        Operator::new(desk.grpc, &desk.key)
    }

    /// `http://…` of the publisher.
    pub fn publisher(&self) -> String {
        let standin = self.cluster.standin().expect("a stand-in Walrus");
        standin.publisher_url.to_string().trim_end_matches('/').to_owned()
    }

    /// `http://…` of an aggregator, from 0.
    pub fn aggregator(&self, n: usize) -> String {
        let standin = self.cluster.standin().expect("a stand-in Walrus");
        standin.aggregator_urls[n].to_string().trim_end_matches('/').to_owned()
    }

    /// `http://…` of a path on an edge, from 0.
    pub fn edge(&self, n: usize, path: &str) -> String {
        format!("{}{path}", self.cluster.edges()[n].url)
    }

    /// Where the first edge listens.
    ///
    /// # Panics
    /// Never: an edge has an address.
    pub fn address(&self) -> SocketAddr {
        let url = &self.cluster.edges()[0].url;
        url.trim_start_matches("http://").parse().expect("an address")
    }

    /// `https://…` of a path on the first edge.
    ///
    /// # Panics
    /// When it has no certificate.
    pub fn tls(&self, path: &str) -> String {
        let url = self.cluster.edges()[0].tls_url.as_ref();
        format!("{}{path}", url.expect("the edge has a certificate"))
    }

    /// GET of a path on the first edge.
    pub async fn get(&self, path: &str) -> Reply {
        self.client.get(&self.edge(0, path)).await
    }

    /// Makes an aggregator misbehave; `{}` heals it.
    ///
    /// # Panics
    /// When the stand-in does not know the fault.
    pub async fn fault(&self, aggregator: usize, faults: Value) {
        let url = format!("{}/_faults", self.aggregator(aggregator));
        let asking = self.client.request(Method::PUT, &url);
        let asking = asking.header("content-type", "application/json");
        let reply = asking.body(faults.to_string()).send().await;
        assert!(reply.status.is_success(), "{reply:?}");
    }

    /// Makes every aggregator misbehave alike.
    pub async fn fault_all(&self, faults: Value) {
        for aggregator in 0..3 {
            self.fault(aggregator, faults.clone()).await;
        }
    }

    /// How often a blob was fetched from aggregators, all together.
    pub async fn fetches(&self, id: &BlobId) -> u64 {
        let mut sum = 0;
        for aggregator in 0..3 {
            let stats = self.client.get(&format!("{}/_stats", self.aggregator(aggregator))).await;
            sum += stats.json()["by_blob"][id.to_string()].as_u64().unwrap_or(0);
        }
        sum
    }

    /// The sum of all lines of a metric of the first edge whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        self.metric_of(0, name, labels).await
    }

    /// The same of another edge.
    pub async fn metric_of(&self, edge: usize, name: &str, labels: &str) -> f64 {
        let url = format!("{}/metrics", self.cluster.edges()[edge].admin_url);
        metric(&self.client.get(&url).await.body, name, labels)
    }

    /// Stops the control plane.
    ///
    /// # Panics
    /// When there is none.
    pub async fn stop_desk(&mut self) {
        let desk = self.cluster.desk().expect("a control plane");
        let (tcp, udp) = ([desk.grpc, desk.admin], desk.gossip);
        self.cluster.stop_desk().await;
        let hold = |address| {
            let socket = TcpSocket::new_v4().expect("a socket");
            // Whoever says so, too, may listen at the port of one that does not.
            socket.set_reuseaddr(true).expect("an option");
            socket.bind(address).expect("the port is still free");
            socket
        };
        let udp = UdpSocket::bind(udp).await.expect("the port is still free");
        self.held = Some(Held { tcp: tcp.map(hold), udp });
    }

    /// Starts it again where it was, with what it knew.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_desk(&mut self) {
        let Held { tcp, udp } = self.held.take().expect("it was stopped");
        drop(udp);
        self.cluster.start_desk(None).await.expect("the control plane starts");
        drop(tcp);
    }

    /// Drains and stops everything.
    pub async fn stop(self) {
        Box::pin(self.cluster.stop()).await;
    }
}
