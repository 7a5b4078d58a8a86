//! The origin pool: what it is, and changing it without undoing what others change.

use std::sync::Arc;

use tokio::sync::watch;
use wcdn_proto::pb::edge::v1::OriginPool;

use crate::{
    auth::Author,
    change::{Asked, Recorded, Request},
    log::{Log, LogError},
    store::log::Refused,
};

/// Reads and changes the pool. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    log: Log,
    /// Until one is set.
    base: Arc<OriginPool>,
}

/// How often a change is made anew because another one came between.
const TRIES: usize = 5;

impl Pools {
    pub(crate) fn new(log: Log, base: OriginPool) -> Self {
        Self { log, base: Arc::new(base) }
    }

    /// As it is. At revision 0 none was ever set, and this is that of the configuration.
    pub(crate) fn now(&self) -> OriginPool {
        let set = self.log.pools().borrow().clone();
        if set.revision == 0 { OriginPool::clone(&self.base) } else { set }
    }

    /// Tells when there is another.
    pub(crate) fn watch(&self) -> watch::Receiver<OriginPool> {
        self.log.pools()
    }

    /// Makes a change of the pool as it is; none if `change` finds nothing to do. Whoever else changes it
    /// meanwhile comes first, and the change is made anew of what it is then.
    ///
    /// # Errors
    /// Those of `change`, and those of the log; also if others do not leave the pool alone.
    pub(crate) async fn edit<E: From<LogError>>(
        &self,
        by: &Author,
        mut change: impl FnMut(&mut OriginPool) -> Result<bool, E>,
    ) -> Result<Option<Recorded>, E> {
        let mut tries = TRIES;
        loop {
            let mut pool = self.now();
            if !change(&mut pool)? {
                return Ok(None);
            }
            let request = Request { asked: Asked::Origins(pool), by: by.clone(), token: None };
            match self.log.append(request).await {
                Err(LogError::Refused(Refused::PoolChanged { .. })) if tries > 1 => tries -= 1,
                done => return Ok(Some(done?)),
            }
        }
    }
}
