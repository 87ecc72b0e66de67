//! The shortest list of steps that still ends in a difference.
//!
//! Delta debugging: parts are left out, first halves, then smaller ones, and what still fails
//! without a part goes on without it.

use anyhow::Result;
use std::time::Duration;
use tokio::time::Instant;

/// Leaves out as much as it can of `steps`, of which the last is the one that fails, until nothing
/// more can go or `limit` has passed. `fails` tells whether a list still fails, and then how many
/// of its steps it needs to.
///
/// # Errors
/// Those of `fails`.
pub async fn shrink<T: Clone>(
    mut steps: Vec<T>,
    limit: Duration,
    mut fails: impl AsyncFnMut(&[T]) -> Result<Option<usize>>,
) -> Result<Vec<T>> {
    let deadline = Instant::now() + limit;
    let mut part = steps.len().div_ceil(2);
    while part > 0 {
        let before = steps.len();
        let mut at = 0;
        while at + 1 < steps.len() && Instant::now() < deadline {
            let end = (at + part).min(steps.len() - 1);
            let rest = steps.iter().take(at).chain(steps.iter().skip(end));
            let mut rest: Vec<T> = rest.cloned().collect();
            match fails(&rest).await? {
                Some(needed) => {
                    rest.truncate(needed);
                    steps = rest;
                }
                None => at = end,
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        // Single steps as often as that helps: leaving out one may make another needless.
        part = match part {
            1 if steps.len() < before => 1,
            part => part / 2,
        };
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_matters_stays() {
        let mut attempts = 0;
        let steps: Vec<u32> = (1..=1_000).collect();
        // Fails at 900 if 7 and 450 came before it.
        let fails = async |steps: &[u32]| {
            attempts += 1;
            let has = |wanted: u32| steps.iter().position(|step| *step == wanted);
            let all = has(7).and(has(450)).and(has(900));
            Ok(all.map(|at| at + 1))
        };
        let shrunk = shrink(steps, Duration::from_secs(60), fails).await.unwrap();
        assert_eq!(shrunk, [7, 450, 900]);
        assert!(attempts < 100, "{attempts}");
    }

    #[tokio::test]
    async fn at_the_limit_it_is_what_it_is() {
        let fails = async |steps: &[u32]| Ok(Some(steps.len()));
        let steps = shrink(vec![1, 2, 3], Duration::ZERO, fails).await.unwrap();
        assert_eq!(steps, [1, 2, 3]);
    }
}
