//! Who calls, and what they may do: decided once, for every surface.
//!
//! A call is named by its [`Operation`], which says what scopes admit to it. Whoever shows a key is looked
//! up in the [`Keyring`], and is a [`Caller`] from then on. What cannot be told from the head of a call,
//! such as that a purge is of everything, is asked of the caller where it is known.

mod admit;
mod caller;
mod key;
mod keyring;
mod operation;
mod uses;

pub(crate) use self::{
    admit::{admit, anonymous, bearer, request_id, within_budget},
    caller::{Author, Caller},
    key::{Key, KeyChange, NewKey, Settings, Text},
    keyring::{Keyring, Presented},
    operation::Operation,
    uses::Use,
};
