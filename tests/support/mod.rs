//! Shared by the state machine's tests.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod model;
pub mod world;
