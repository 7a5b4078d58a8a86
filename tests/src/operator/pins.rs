//! What an operator does with pins, and preloads.

use std::{fmt::Display, time::Duration};

use tokio::time::timeout;
use tonic::{Status, Streaming};
use wcdn_proto::pb::admin::v1::{
    Change, ListPinsRequest, PinRequest, PinStanding, PinState, PinnedId, PreloadJob,
    PreloadRequest, PurgeRequest, UnpinRequest, WatchPinsRequest, WatchPinsResponse,
    WatchPreloadRequest, WatchPreloadResponse,
};

use super::Operator;

/// Longer than anything takes that is to be held.
const DEADLINE: Duration = Duration::from_secs(120);

impl Operator {
    /// Commits a pin of these ids.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn pin<T: Display>(&self, ids: &[T]) -> Change {
        let request = PinRequest { ids: texts(ids), note: "a test".into(), ..Default::default() };
        let answer = self.admin.clone().pin(request).await.expect("the pin is committed");
        answer.into_inner().change.expect("a pin is a change")
    }

    /// Ends that on every node.
    ///
    /// # Panics
    /// When a node does not apply it.
    pub async fn unpin<T: Display>(&self, ids: &[T]) {
        let request = UnpinRequest { ids: texts(ids), ..Default::default() };
        let answer = self.admin.clone().unpin(request).await.expect("its end is committed");
        self.complete(&answer.into_inner().change.expect("its end is a change")).await;
    }

    /// Every pin.
    ///
    /// # Panics
    /// When it is refused, or there are more than fit one page.
    pub async fn pins(&self) -> Vec<PinnedId> {
        let request = ListPinsRequest { page_size: 1_000, ..Default::default() };
        let listed = self.admin.clone().list_pins(request).await.expect("pins are listed");
        let listed = listed.into_inner();
        assert!(listed.next_page_token.is_empty(), "there are more");
        listed.pins
    }

    /// How far the pin of an id is.
    ///
    /// # Panics
    /// When it is not pinned.
    pub async fn standing(&self, id: &impl Display) -> PinStanding {
        let id = id.to_string();
        let pin = self.pins().await.into_iter().find(|pin| pin.id == id);
        pin.and_then(|pin| pin.standing).expect("it is pinned")
    }

    /// Waits until nothing more is to be expected of pins.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn settled_pins<T: Display>(&self, ids: &[T]) -> WatchPinsResponse {
        let request = WatchPinsRequest { ids: texts(ids) };
        let watch = self.admin.clone().watch_pins(request).await.expect("they can be watched");
        let mut watch = watch.into_inner();
        let last = async {
            let mut last = None;
            while let Some(told) = watch.message().await.expect("the stream goes on to its end") {
                last = Some(told);
            }
            last.expect("something was told")
        };
        timeout(DEADLINE, last).await.expect("pins settle in time")
    }

    /// Pins these ids, and waits until they are held.
    ///
    /// # Panics
    /// When one is not.
    pub async fn hold<T: Display>(&self, ids: &[T]) {
        self.pin(ids).await;
        let told = self.settled_pins(ids).await;
        assert_eq!(told.held as usize, ids.len(), "{told:?}");
    }

    /// Waits until the pin of an id is held by as many nodes as are to hold it.
    pub async fn held(&self, id: &impl Display, nodes: u32) {
        crate::eventually("the pin is held", || async {
            let standing = self.standing(id).await;
            standing.state() == PinState::Held && standing.held == nodes
        })
        .await;
    }

    /// Begins a preload in these regions, in all if there are none; under which name it is found.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn preload<T: Display>(&self, ids: &[T], regions: &[&str]) -> String {
        let request = PreloadRequest { ids: texts(ids), regions: texts(regions) };
        let answer = self.admin.clone().preload(request).await.expect("the preload begins");
        answer.into_inner().job.expect("a preload is a job").id
    }

    /// How far a preload is.
    ///
    /// # Panics
    /// When it is unknown.
    pub async fn preload_now(&self, job: &str) -> PreloadJob {
        let first = self.watch_preload(job).await.message().await.expect("the stream begins");
        first.and_then(|told| told.job).expect("it tells of the job")
    }

    /// Waits for the end of a preload.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn preloaded(&self, job: &str) -> PreloadJob {
        let mut watch = self.watch_preload(job).await;
        let last = async {
            let mut last = None;
            while let Some(told) = watch.message().await.expect("the stream goes on to its end") {
                last = told.job;
            }
            last.expect("it tells of the job")
        };
        timeout(DEADLINE, last).await.expect("the preload ends in time")
    }

    async fn watch_preload(&self, job: &str) -> Streaming<WatchPreloadResponse> {
        let request = WatchPreloadRequest { job_id: job.to_owned() };
        let watch = self.admin.clone().watch_preload(request).await;
        watch.expect("it can be watched").into_inner()
    }

    /// Tries a purge.
    ///
    /// # Errors
    /// As it is refused.
    ///
    /// # Panics
    /// When it becomes no change.
    pub async fn try_purge(&self, purge: PurgeRequest) -> Result<Change, Status> {
        let answer = self.admin.clone().purge(purge).await?;
        Ok(answer.into_inner().change.expect("a purge is a change"))
    }
}

fn texts<T: Display>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
