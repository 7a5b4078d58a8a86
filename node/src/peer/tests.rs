//! A node between a peer that says whatever a test makes it say, and an origin that is honest.

mod answering;
mod asking;
mod lying;
mod origin;
mod scene;
mod told;
