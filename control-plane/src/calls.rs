//! What may be asked of a control plane, and how it is answered, whichever way it comes: each call takes
//! who asks and a message of `wcdn.admin.v1`, and gives one or a [`Refusal`](crate::refusal::Refusal).

pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod keys;
pub(crate) mod origins;
pub(crate) mod parse;
pub(crate) mod pins;
pub(crate) mod preloads;
pub(crate) mod queries;
pub(crate) mod receipts;
pub(crate) mod stream;
pub(crate) mod tail;
