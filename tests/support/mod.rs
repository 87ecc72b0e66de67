//! Shared by the state machine's tests.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod model;
pub(crate) mod parse;
pub(crate) mod render;
pub(crate) mod script;
pub(crate) mod world;
