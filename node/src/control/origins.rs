//! Which origin pool is in force, of those that control planes give.
//!
//! The pool is part of what the log amounts to, so the one of the newest log is: of the highest epoch,
//! and in it of the highest revision. A control plane that was restored from a backup gives the pool of
//! that time, with a lower revision but under a higher epoch, and that is what its operator wants; one
//! that was left behind with an old log, or lags, gives an older pool, which is passed over. A pool that
//! was never set (revision 0) is none, whatever its epoch.

use std::sync::Arc;

use parking_lot::Mutex;
use wcdn_proto::pb::edge::v1::OriginPool;

use crate::{
    config::OriginSpec,
    events::disk::{Disk, Origins},
    origin::Pool,
};

/// Takes the pools that control planes give.
#[derive(Debug)]
pub struct Choice {
    pool: Pool,
    /// Where the one in force is kept.
    disk: Option<Arc<Disk>>,
    /// Its epoch and revision.
    present: Mutex<(u64, u64)>,
}

impl Choice {
    /// Begins with the pool that was kept.
    pub fn new(pool: Pool, disk: Option<Arc<Disk>>, kept: Option<Origins>) -> Self {
        let present = kept.as_ref().map_or((0, 0), |kept| (kept.epoch, kept.revision));
        if let Some(kept) = kept {
            pool.manage(kept.specs);
        }
        Self { pool, disk, present: Mutex::new(present) }
    }

    /// A control plane whose log is of this epoch gives this pool.
    pub(super) fn take(&self, epoch: u64, OriginPool { revision, origins, .. }: OriginPool) {
        let mut present = self.present.lock();
        if revision == 0 || (epoch, revision) <= *present {
            return;
        }
        let specs: Vec<_> = origins.iter().filter_map(spec).collect();
        if specs.is_empty() {
            tracing::warn!(revision, "the control plane gives no origin; the old ones stay");
            return;
        }
        tracing::info!(epoch, revision, origins = specs.len(), "origins of the control plane");
        *present = (epoch, revision);
        self.pool.manage(specs.clone());
        if let Some(disk) = &self.disk {
            disk.keep_origins(Origins { epoch, revision, specs });
        }
    }
}

fn spec(origin: &wcdn_proto::pb::edge::v1::Origin) -> Option<OriginSpec> {
    let spec = OriginSpec::read(origin);
    if spec.is_none() {
        tracing::warn!(
            origin = origin.name,
            url = origin.url,
            "the control plane names an origin that this node cannot ask"
        );
    }
    spec
}

#[cfg(test)]
mod tests {
    use wcdn_proto::pb::edge::v1::Origin;
    use wcdn_walrus::{HttpClient, HttpOptions};

    use super::*;
    use crate::metrics::Metrics;

    fn given(revision: u64, name: &str) -> OriginPool {
        let url = "http://127.0.0.1:9".to_owned();
        let origins = vec![Origin { name: name.to_owned(), url, ..Origin::default() }];
        OriginPool { revision, origins, ..OriginPool::default() }
    }

    fn names(pool: &Pool) -> Vec<String> {
        pool.reports().iter().map(|report| report.name.to_string()).collect()
    }

    #[tokio::test]
    async fn the_pool_of_the_newest_log_is_in_force_whoever_gives_it_last() {
        let metrics = Arc::new(Metrics::new("r", "n").0);
        let http = HttpClient::new(HttpOptions::default());
        let pool = Pool::new(Vec::new(), &http, crate::config::Fetch::default(), &metrics);
        let specs =
            vec![OriginSpec::new("kept".parse().unwrap(), "http://127.0.0.1:9".parse().unwrap())];
        let kept = Origins { epoch: 1, revision: 5, specs };
        let choice = Choice::new(pool.clone(), None, Some(kept));
        let takes = |epoch, revision, name: &str, in_force: &str| {
            choice.take(epoch, given(revision, name));
            assert_eq!(names(&pool), [in_force], "{epoch}.{revision}");
        };
        takes(1, 5, "same", "kept");
        takes(1, 6, "newer", "newer");
        takes(1, 5, "lagging", "newer");
        takes(2, 0, "unset", "newer");
        takes(2, 3, "restored", "restored");
        takes(1, 9, "old-log", "restored");
        takes(2, 4, "next", "next");
        choice.take(3, OriginPool { revision: 9, ..OriginPool::default() });
        assert_eq!(names(&pool), ["next"], "of none the old ones stay");
        takes(3, 1, "after-none", "after-none");
    }
}
