//! What is pinned is kept ready, by two nodes of each region and in the region's Redis.
//!
//! - [`keeper`]: the task that does it
//! - `table`: how far each pin is, and when something is to be done about which
//! - [`work`]: what is done next about one; pure
//! - [`told`]: what control planes hear of it

pub mod keeper;
mod table;
pub mod told;
pub mod work;

pub use keeper::Keeper;
