//! Shared by the state machine's tests.

pub(crate) mod model;
pub(crate) mod parse;
pub(crate) mod render;
pub(crate) mod script;
pub(crate) mod world;
