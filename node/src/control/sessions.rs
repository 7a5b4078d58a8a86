//! Which sessions there are: one with each control plane that is listed, by itself or among those of a
//! name.
//!
//! Names are looked up again from time to time, and when a session ends. An address that its name no
//! longer has keeps the session that is open, and gets no other: DNS may be wrong, and a control plane
//! that leaves ends it itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_walrus::Resolver;

use super::{
    endpoint::{Endpoint, Way},
    session::{Means, Session},
};

/// Everything that sessions are kept with.
#[derive(Debug)]
pub struct Sessions {
    /// What is listed.
    pub endpoints: Vec<Endpoint>,
    /// Looks up names.
    pub resolver: Resolver,
    /// What every session needs.
    pub means: Means,
}

/// One that is listed, and the sessions that it leads to.
struct Listed {
    endpoint: Arc<Endpoint>,
    means: Arc<Means>,
    /// Cancelled for those that it no longer leads to.
    ways: HashMap<Way, CancellationToken>,
    /// Rung by a session that has ended.
    ended: Arc<Notify>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Between two look-ups of a name.
const LOOK_UP: Duration = Duration::from_secs(30);

/// The same if it failed, and at least.
const LOOK_UP_SOON: Duration = Duration::from_secs(2);

impl Sessions {
    /// Keeps them, on `tasks`, until `shutdown`.
    pub fn start(self, tasks: &TaskTracker, shutdown: &CancellationToken) {
        let means = Arc::new(self.means);
        for endpoint in self.endpoints {
            // There from the first scrape on, whether anybody answers or not.
            means.sources.log.metrics.sessions(endpoint.url());
            let listed = Listed {
                endpoint: Arc::new(endpoint),
                means: Arc::clone(&means),
                ways: HashMap::new(),
                ended: Arc::default(),
                tasks: tasks.clone(),
                shutdown: shutdown.clone(),
            };
            let following = listed.follow(self.resolver.clone());
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(following));
        }
    }
}

impl Listed {
    async fn follow(mut self, resolver: Resolver) {
        let (ended, mut was_told) = (Arc::clone(&self.ended), false);
        loop {
            let pause = match self.endpoint.ways(&resolver).await {
                Ok(ways) => {
                    self.lead_to(ways);
                    was_told = false;
                    LOOK_UP
                }
                Err(error) => {
                    if !std::mem::replace(&mut was_told, true) {
                        let (endpoint, error) =
                            (self.endpoint.url(), &error as &dyn std::error::Error);
                        tracing::warn!(endpoint, error, "the name of a control plane is not found");
                    }
                    LOOK_UP_SOON
                }
            };
            sleep(LOOK_UP_SOON).await;
            // Whichever is first.
            drop(timeout(pause - LOOK_UP_SOON, ended.notified()).await);
        }
    }

    fn lead_to(&mut self, ways: impl IntoIterator<Item = Way>) {
        let mut before = std::mem::take(&mut self.ways);
        for way in ways {
            let unlisted = before.remove(&way).unwrap_or_else(|| self.begin(way));
            self.ways.insert(way, unlisted);
        }
        before.values().for_each(CancellationToken::cancel);
    }

    fn begin(&self, way: Way) -> CancellationToken {
        let session = Session::new(Arc::clone(&self.endpoint), way, Arc::clone(&self.means));
        let unlisted = CancellationToken::new();
        let keeping = session.keep(unlisted.clone(), Arc::clone(&self.ended));
        self.tasks.spawn(self.shutdown.clone().run_until_cancelled_owned(keeping));
        unlisted
    }
}
