//! What is said of pins.

use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use wcdn_proto::pb::admin::v1::{
    ListPinsRequest, ListPinsResponse, PinnedId, WatchPinsRequest, WatchPinsResponse,
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
        Ok(self.ending(ReceiverStream::new(receiver)))
    }
}
