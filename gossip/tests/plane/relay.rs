//! A network between nodes that loses, doubles and delays datagrams.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{net::UdpSocket, time::sleep};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Each node has a front, which is where others reach it; what it sends leaves by its front too.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    _stop: DropGuard,
}

struct Shared {
    loss_percent: u32,
    rng: Mutex<StdRng>,
    fronts: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    recorded: Mutex<HashMap<SocketAddr, Vec<Vec<u8>>>>,
    dropped: AtomicU64,
}

impl Relay {
    /// Loses so many of 100 datagrams, doubles one of ten, and delays each by up to 10 ms.
    pub(crate) fn new(loss_percent: u32, seed: u64) -> Self {
        let shutdown = CancellationToken::new();
        let shared = Shared {
            loss_percent,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            fronts: Mutex::default(),
            recorded: Mutex::default(),
            dropped: AtomicU64::new(0),
        };
        let stop = shutdown.clone().drop_guard();
        Self { shared: Arc::new(shared), tasks: TaskTracker::new(), shutdown, _stop: stop }
    }

    /// Where others reach the node whose socket is at `real`.
    pub(crate) async fn front(&self, real: SocketAddr) -> SocketAddr {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = front.local_addr().unwrap();
        self.shared.fronts.lock().insert(real, front.clone());
        let (shared, tasks, shutdown) =
            (self.shared.clone(), self.tasks.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            let forward = shared.forward(&front, real, &tasks);
            shutdown.run_until_cancelled(forward).await;
        });
        address
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// What reached the node whose socket is at `real`.
    pub(crate) fn recorded(&self, real: SocketAddr) -> Vec<Vec<u8>> {
        self.shared.recorded.lock().get(&real).cloned().unwrap_or_default()
    }
}

impl Shared {
    async fn forward(self: &Arc<Self>, front: &UdpSocket, to: SocketAddr, tasks: &TaskTracker) {
        let mut buffer = [0; 2_048];
        loop {
            let Ok((length, from)) = front.recv_from(&mut buffer).await else { continue };
            let Some(leaves_by) = self.fronts.lock().get(&from).cloned() else { continue };
            for _ in 0..self.copies() {
                let delay = Duration::from_millis(self.rng.lock().random_range(0..10));
                let (shared, leaves_by, datagram) =
                    (self.clone(), leaves_by.clone(), buffer[..length].to_vec());
                tasks.spawn(async move {
                    sleep(delay).await;
                    if leaves_by.send_to(&datagram, to).await.is_ok() {
                        shared.recorded.lock().entry(to).or_default().push(datagram);
                    }
                });
            }
        }
    }

    fn copies(&self) -> usize {
        let mut rng = self.rng.lock();
        if rng.random_range(0..100) < self.loss_percent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return 0;
        }
        if rng.random_range(0..10) == 0 { 2 } else { 1 }
    }
}
