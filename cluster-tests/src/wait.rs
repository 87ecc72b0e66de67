//! Waiting on conditions. A poll with a deadline, never a sleep that hopes to be long enough.

use anyhow::{Result, bail};
use std::fmt::Display;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One look: the condition holds, or not yet and why.
pub enum Look<T> {
    Ready(T),
    NotYet(String),
}

impl<T> Look<T> {
    /// An error is a reason to look again: members come and go here.
    pub fn from_result(result: Result<T>) -> Self {
        match result {
            Ok(value) => Self::Ready(value),
            Err(error) => Self::NotYet(format!("{error:#}")),
        }
    }
}

/// Polls until `look` is ready. At the deadline: an error that says what was awaited and what the
/// last look saw. A look that hangs is cut off at the deadline too.
///
/// # Errors
/// The deadline passed.
pub async fn until<T, F>(what: impl Display, limit: Duration, mut look: F) -> Result<T>
where
    F: AsyncFnMut() -> Look<T>,
{
    let deadline = Instant::now() + limit;
    let mut last = String::from("nothing yet");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left.max(Duration::from_millis(1)), look()).await {
            Ok(Look::Ready(value)) => return Ok(value),
            Ok(Look::NotYet(why)) => last = why,
            Err(_) => bail!("waited {limit:?} for {what}; a look hung; before: {last}"),
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}; last: {last}");
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// As [`until`], for a condition that is either an answer or an error worth another look.
///
/// # Errors
/// The deadline passed.
pub async fn until_ok<T, F>(what: impl Display, limit: Duration, mut attempt: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    until(what, limit, async || Look::from_result(attempt().await)).await
}
