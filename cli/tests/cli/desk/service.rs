//! What every answer has in common.

use std::sync::MutexGuard;

use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use wcdn_proto::pb::admin::v1::Change;

use super::{COMMITTED_AT_MS, KEY, READER, Service, State, Streamed, at};

impl Service {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the state in its hands")
    }

    pub(crate) fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let key = request.metadata().get("x-api-key").map(|key| key.as_bytes());
        if ![KEY, READER].iter().any(|known| key == Some(known.as_bytes())) {
            return Err(Status::unauthenticated("the API key is unknown"));
        }
        match &self.state().refusal {
            Some(status) => {
                let details = status.details().to_vec().into();
                Err(Status::with_details(status.code(), status.message(), details))
            }
            None => Ok(()),
        }
    }

    /// Writes down what was asked; the change that it becomes.
    pub(crate) fn change<T>(
        &self,
        request: &Request<T>,
        kind: &str,
        ids: usize,
    ) -> Result<Change, Status>
    where
        T: std::fmt::Debug,
    {
        self.admit(request)?;
        if request.metadata().get("x-api-key").is_some_and(|key| key == READER) {
            return Err(Status::permission_denied("the API key lacks the scope cache:write"));
        }
        assert!(request.metadata().contains_key("grpc-timeout"), "there is a deadline");
        self.state().asked.push(format!("{:?}", request.get_ref()));
        let change = Change {
            id: "chg_1".into(),
            kind: kind.into(),
            first: at(1, 41),
            last: at(1, 42),
            committed_at_ms: COMMITTED_AT_MS,
            ids: ids as u64,
            by: "ci".into(),
        };
        self.receipt.send_modify(|receipt| receipt.change = Some(change.clone()));
        let mut state = self.state();
        if state.losses > 0 {
            state.losses -= 1;
            return Err(Status::unavailable("stopping"));
        }
        Ok(change)
    }

    pub(super) fn known(&self, change_id: &str) -> Result<(), Status> {
        let known = self.receipt.borrow().change.as_ref().is_some_and(|it| it.id == change_id);
        if known { Ok(()) } else { Err(Status::not_found(format!("no change {change_id}"))) }
    }

    /// The stream, which breaks off after one message if it is to.
    pub(super) fn ending<T: Send + 'static>(
        &self,
        stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<Streamed<T>> {
        let mut state = self.state();
        if state.breaks > 0 {
            state.breaks -= 1;
            let gone = tokio_stream::once(Err(Status::unavailable("stopping")));
            return Response::new(Box::pin(stream.take(1).chain(gone)));
        }
        Response::new(Box::pin(stream))
    }
}
