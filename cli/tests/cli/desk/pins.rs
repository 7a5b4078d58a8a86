//! What is said of pins, and of preloads.

use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use wcdn_proto::pb::admin::v1::{
    ListPinsRequest, ListPinsResponse, PinnedId, PreloadRequest, PreloadResponse, WatchPinsRequest,
    WatchPinsResponse, WatchPreloadRequest, WatchPreloadResponse,
};

use super::{Service, Streamed};

impl Service {
    /// Of two rows, those that are in the state that was asked for.
    pub(super) fn page_of_pins(
        &self,
        asked: &Request<ListPinsRequest>,
    ) -> Result<Response<ListPinsResponse>, Status> {
        self.admit(asked)?;
        let asked = asked.get_ref();
        let from = asked.page_token.parse().unwrap_or(0);
        let all = self.state().pins.clone();
        let state = |pin: &PinnedId| pin.standing.as_ref().map_or(0, |standing| standing.state);
        let rows = all.iter().skip(from).take(2);
        let pins = rows.filter(|pin| asked.state == 0 || state(pin) == asked.state).cloned();
        let next = if from + 2 < all.len() { (from + 2).to_string() } else { String::new() };
        Ok(Response::new(ListPinsResponse { pins: pins.collect(), next_page_token: next }))
    }

    /// All that is to be told, and then the end, unless there is none.
    pub(super) fn told_of_pins(
        &self,
        asked: &Request<WatchPinsRequest>,
    ) -> Result<Response<Streamed<WatchPinsResponse>>, Status> {
        self.admit(asked)?;
        let told = self.state().told_of_pins.clone();
        Ok(self.told(told))
    }

    /// The first that is to be told of a preload.
    pub(super) fn begun(
        &self,
        asked: &Request<PreloadRequest>,
    ) -> Result<Response<PreloadResponse>, Status> {
        self.admit(asked)?;
        let mut state = self.state();
        state.asked.push(format!("{:?}", asked.get_ref()));
        Ok(Response::new(PreloadResponse { job: state.told_of_preload.first().cloned() }))
    }

    /// All that is to be told, and then the end, unless there is none.
    pub(super) fn told_of_preload(
        &self,
        asked: &Request<WatchPreloadRequest>,
    ) -> Result<Response<Streamed<WatchPreloadResponse>>, Status> {
        self.admit(asked)?;
        let told = self.state().told_of_preload.clone();
        let (id, known) = (&asked.get_ref().job_id, told.first().map(|job| job.id.clone()));
        if known.as_ref() != Some(id) {
            return Err(Status::not_found(format!("there is no preload {id:?} here")));
        }
        let message = |job| WatchPreloadResponse { job: Some(job) };
        Ok(self.told(told.into_iter().map(message).collect()))
    }

    fn told<T: Send + 'static>(&self, told: Vec<T>) -> Response<Streamed<T>> {
        let hangs = self.state().hangs;
        let (sender, receiver) = channel(16);
        TaskTracker::new().spawn(async move {
            for told in told {
                if sender.send(Ok(told)).await.is_err() {
                    return;
                }
            }
            if hangs {
                sender.closed().await;
            }
        });
        self.ending(ReceiverStream::new(receiver))
    }
}
