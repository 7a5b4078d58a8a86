//! What the system promises, tried through the doors its users have.

#[path = "fleet/bad_input.rs"]
mod bad_input;
#[path = "fleet/conditions.rs"]
mod conditions;
#[path = "fleet/fills.rs"]
mod fills;
#[path = "fleet/large.rs"]
mod large;
#[path = "fleet/operations.rs"]
mod operations;
#[path = "fleet/origins.rs"]
mod origins;
#[path = "fleet/quilts.rs"]
mod quilts;
#[path = "fleet/ranges.rs"]
mod ranges;
#[path = "fleet/serving.rs"]
mod serving;
#[path = "fleet/standin.rs"]
mod standin;
#[path = "fleet/verification.rs"]
mod verification;
