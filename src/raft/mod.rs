//! Floor 4: openraft lives here and nowhere else.

pub mod log;
