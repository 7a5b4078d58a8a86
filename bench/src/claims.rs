//! What is promised of speed in good weather and bad, one scenario for each promise.

pub(crate) mod first_byte;
pub(crate) mod flood;
pub(crate) mod hedge;
pub(crate) mod herd;
pub(crate) mod propagation;
pub(crate) mod redis;
pub(crate) mod region;
pub(crate) mod replicas;
pub(crate) mod storm;

use crate::figures::Figures;

/// Measures a scenario; less of everything where only a quick look is wanted.
pub(crate) type Claim = fn(is_quick: bool) -> anyhow::Result<Vec<Figures>>;
