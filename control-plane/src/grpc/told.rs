//! How calls are answered by gRPC.

use futures_util::{StreamExt as _, stream::Map};
use tonic::{Response, Status};

use crate::{calls::stream::Sent, refusal::Refusal};

/// What a call is answered.
pub(super) type Answer<T> = Result<Response<T>, Status>;

/// A stream as it is told.
pub(super) type Told<T> = Map<Sent<T>, fn(Result<T, Refusal>) -> Result<T, Status>>;

/// Tells the end of a stream, too.
pub(super) fn told<T>(sent: Sent<T>) -> Told<T> {
    sent.map(|message| message.map_err(Status::from))
}

/// Answers a call of an operator: one that takes time, or one that is answered `now`; by a message, or by a
/// `stream` of them.
macro_rules! ask {
    ($self:ident, $request:ident, stream now $call:path) => {{
        let (caller, request) = $crate::grpc::admit::operator($request)?;
        $self.0.answer($call(&$self.0, &caller, request).map($crate::grpc::told::told))
    }};
    ($self:ident, $request:ident, stream $call:path) => {{
        let (caller, request) = $crate::grpc::admit::operator($request)?;
        $self.0.answer($call(&$self.0, &caller, request).await.map($crate::grpc::told::told))
    }};
    ($self:ident, $request:ident, now $call:path) => {{
        let (caller, request) = $crate::grpc::admit::operator($request)?;
        $self.0.answer($call(&$self.0, &caller, request))
    }};
    ($self:ident, $request:ident, $call:path) => {{
        let (caller, request) = $crate::grpc::admit::operator($request)?;
        $self.0.answer($call(&$self.0, &caller, request).await)
    }};
}
pub(super) use ask;
