//! What a run looks for.

use std::fmt;

/// Two answers, or two streams, that are not the same; in words. Anything else that goes wrong is
/// trouble with the clusters, and nothing that a shorter run would show.
#[derive(Debug)]
pub struct Difference(pub String);

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Difference {}

/// Ends the run with a [`Difference`].
macro_rules! differ {
    ($($text:tt)*) => {
        return Err($crate::differential::difference::Difference(format!($($text)*)).into())
    };
}
pub(super) use differ;
