//! Real Redis servers and clusters, and what may befall them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;
use wcdn_dev::{
    Topology,
    redis::{RedisAddress, RedisServer, write_cluster_key},
};
use wcdn_proto::{BlobId, Span};

pub use pair::RedisPair;

use crate::signal::Signal;

mod pair;

/// One server, and a cluster key to go with it.
#[derive(Debug)]
pub struct Redis {
    server: Option<RedisServer>,
    home: TempDir,
    options: Vec<String>,
}

/// What a server held at one time.
#[derive(Debug)]
pub struct Copy(Vec<(Vec<u8>, Vec<u8>)>);

impl Redis {
    /// Starts an empty server.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts an empty server with these options.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn with(options: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        write_cluster_key(&home.path().join("cluster.key")).expect("a key");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut redis = Self { server: None, home, options };
        redis.restart().await;
        redis
    }

    /// Starts it again: empty, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill();
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let address = RedisAddress::Socket(self.socket());
        let server = RedisServer::start(address, self.home.path(), &options).await;
        self.server = Some(server.expect("redis-server starts"));
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server = None;
        // A socket left behind would refuse connections, as the port of a dead server does.
    }

    /// Hangs or wakes it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        signal.send(self.server.as_ref().expect("it runs").pid());
    }

    /// Makes every edge of a system use it, with a deadline that a busy machine does not miss.
    pub fn serve(&self, topology: &mut Topology) {
        topology.edge.redis.timeout = Span::secs(2);
        topology.edge.redis.urls = vec![self.url()];
        topology.edge.cluster.key_file = Some(self.key());
    }

    /// The file with the key of the cluster that uses it.
    pub fn key(&self) -> PathBuf {
        self.home.path().join("cluster.key")
    }

    /// Asks it something.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let mut connection = self.connect().await;
        command.query_async(&mut connection).await.expect("redis answers")
    }

    /// What an edge is told to connect to.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a URL");
        client.get_multiplexed_async_connection().await.expect("redis accepts")
    }

    /// Whether it has the record of a blob.
    pub async fn has(&self, id: &BlobId) -> bool {
        self.ask(redis::cmd("EXISTS").arg(record_key(id))).await
    }

    /// The epoch and the seq that were known when the fetch of this blob began, by its record; none if
    /// it has no record.
    ///
    /// # Panics
    /// When what it has is none.
    pub async fn token(&self, id: &BlobId) -> Option<(u64, u64)> {
        let record = self.get(&record_key(id)).await?;
        // After a version, a level and the length, as the documentation of the format says.
        let number = |at: usize| record[at..at + 8].try_into().map(u64::from_le_bytes);
        Some((number(10).expect("8 bytes"), number(18).expect("8 bytes")))
    }

    /// Bytes it holds at a key.
    pub async fn get(&self, key: &str) -> Option<Bytes> {
        self.ask(redis::cmd("GET").arg(key)).await
    }

    /// Puts bytes at a key.
    pub async fn set(&self, key: &str, value: &[u8]) {
        self.ask::<()>(redis::cmd("SET").arg(key).arg(value)).await;
    }

    /// All that it holds now, to be put back later.
    pub async fn copy(&self) -> Copy {
        let keys: Vec<Vec<u8>> = self.ask(redis::cmd("KEYS").arg("*")).await;
        let mut values = Vec::new();
        for key in keys {
            let value: Vec<u8> = self.ask(redis::cmd("DUMP").arg(&key)).await;
            values.push((key, value));
        }
        Copy(values)
    }

    /// Makes it hold again what it held once, as a replica does that is promoted though it lags, and a
    /// server that reads an old file.
    pub async fn put_back(&self, Copy(values): &Copy) {
        for (key, value) in values {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(key).arg(0).arg(value).arg("REPLACE");
            self.ask::<()>(&restore).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("redis.sock")
    }
}

/// Where the record of a blob stands, as the documentation of the format says.
pub fn record_key(id: &BlobId) -> String {
    format!("wcdn:{{0:{id}}}:w")
}

/// Where a slice of its body stands.
pub fn slice_key(id: &BlobId, slice: usize) -> String {
    format!("wcdn:{{0:{id}}}:w:{slice}")
}

/// Six servers: three masters, each with a replica.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<Option<RedisServer>>,
    ports: Vec<u16>,
    home: TempDir,
}

impl RedisCluster {
    /// Starts it, and waits until every node serves and every replica has its master's data.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        write_cluster_key(&home.path().join("cluster.key")).expect("a key");
        let (mut servers, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let (server, port) = cluster_node(home.path()).await;
            servers.push(Some(server));
            ports.push(port);
        }
        let nodes: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&nodes)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdout(Stdio::null())
            .status();
        assert!(created.expect("redis-cli runs").success(), "the cluster is created");
        let cluster = Self { servers, ports, home };
        for n in 0..6 {
            crate::eventually("the cluster serves", || async {
                let info = cluster.cli(n, &["cluster", "info"]);
                let replication = cluster.cli(n, &["info", "replication"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:6")
                    && (replication.contains("role:master")
                        || replication.contains("master_link_status:up"))
            })
            .await;
        }
        cluster
    }

    /// Makes every edge of a system use it.
    pub fn serve(&self, topology: &mut Topology) {
        let url = |port: &u16| format!("redis://127.0.0.1:{port}");
        topology.edge.redis.urls = self.ports.iter().map(url).collect();
        topology.edge.redis.cluster = true;
        topology.edge.cluster.key_file = Some(self.home.path().join("cluster.key"));
    }

    /// What `redis-cli` says, asked of node `n`.
    ///
    /// # Panics
    /// When there is no `redis-cli`.
    pub fn cli(&self, n: usize, arguments: &[&str]) -> String {
        let port = self.ports[n].to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
    }

    /// Nodes that are masters now.
    pub fn masters(&self) -> Vec<usize> {
        let alive = (0..6).filter(|n| self.servers[*n].is_some());
        alive.filter(|n| self.cli(*n, &["info", "replication"]).contains("role:master")).collect()
    }

    /// Kills node `n`.
    pub fn kill(&mut self, n: usize) {
        self.servers[n] = None;
    }

    /// The name by which nodes of the cluster know node `n`.
    pub fn node_id(&self, n: usize) -> String {
        self.cli(n, &["cluster", "myid"]).trim().to_owned()
    }

    /// The port of node `n`.
    pub fn port(&self, n: usize) -> u16 {
        self.ports[n]
    }
}

/// A node on a port that was free a moment ago; should somebody else have taken it, on another.
async fn cluster_node(home: &Path) -> (RedisServer, u16) {
    for _ in 0..20 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        // The bus of a cluster listens on a port of its own, by default 10,000 above.
        let bus = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let bus_port = bus.local_addr().expect("an address").port().to_string();
        drop((free, bus));
        let dir = home.join(port.to_string());
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1500",
            "--cluster-port",
            &bus_port,
            "--repl-diskless-sync-delay",
            "0",
        ];
        if let Ok(server) = RedisServer::start(RedisAddress::Port(port), &dir, &options).await {
            return (server, port);
        }
    }
    panic!("no port for a node of a Redis Cluster")
}
