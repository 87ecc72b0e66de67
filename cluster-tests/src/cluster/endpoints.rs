//! A cluster that somebody else runs: all that is known of it is where its clients go.
//!
//! Its members can be asked and written to; its processes and its links are not ours to touch. What can
//! happen to it comes through its doors, [`FAULTS`].

use crate::observe::{self, Observation, Observer};
use crate::wait::until_ok;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// What can be done to such a cluster, for a report.
pub const FAULTS: &str = "Of a cluster that the laboratory did not start only what its API offers can \
    be done to it: leadership transfers, slow consumers. No member is added, no process is killed or paused and no link is cut.";

/// The members behind some client URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    urls: Vec<String>,
}

impl Endpoints {
    /// Reads `host:port,http://host:port,…`, one of each member; they are numbered in this order,
    /// from 1.
    ///
    /// # Errors
    /// There is none, or one over TLS, which the laboratory does not speak.
    pub fn parse(text: &str) -> Result<Self> {
        let words = text.split(',').map(str::trim);
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        ensure!(!words.is_empty(), "no endpoints in {text:?}");
        let urls = words.into_iter().map(|word| {
            let address = word.strip_prefix("http://").unwrap_or(word);
            ensure!(
                !address.contains("://"),
                "{word}: only http:// is spoken here"
            );
            Ok(format!("http://{}", address.trim_end_matches('/')))
        });
        let urls = urls.collect::<Result<Vec<_>>>()?;
        for (at, url) in urls.iter().enumerate() {
            ensure!(!urls[..at].contains(url), "{url} is named twice");
        }
        Ok(Self { urls })
    }

    /// 1, 2, ….
    pub fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.urls.len()
    }

    /// Of a node that [`Endpoints::nodes`] names.
    ///
    /// # Errors
    /// There is no such node.
    pub fn client_url(&self, node: usize) -> Result<String> {
        let url = node.checked_sub(1).and_then(|at| self.urls.get(at));
        url.cloned().with_context(|| {
            format!(
                "there is no node {node}: nodes are 1 to {}",
                self.urls.len()
            )
        })
    }

    pub fn client_urls(&self) -> Vec<String> {
        self.urls.clone()
    }

    /// For those who look at `node` often.
    ///
    /// # Errors
    /// There is no such node.
    pub fn observer(&self, node: usize) -> Result<Observer> {
        Observer::new(&self.client_url(node)?, None)
    }

    /// What `node` says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn observe(&self, node: usize, with_hash: bool) -> Result<Observation> {
        let mut observer = self.observer(node)?;
        let seen = observer.look(with_hash, observe::PATIENCE).await;
        seen.with_context(|| format!("node {node}"))
    }

    /// Waits until every member answers and knows a leader, each endpoint another member.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn wait_serving(&self, limit: Duration) -> Result<()> {
        until_ok("every endpoint to answer", limit, async || {
            let mut seen = Vec::new();
            for node in self.nodes() {
                let member = self.observe(node, false).await?;
                ensure!(member.leader != 0, "node {node} knows no leader");
                let id = member.member_id;
                ensure!(!seen.contains(&id), "node {node} is another one's member");
                seen.push(id);
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_with_or_without_their_scheme() {
        let two = Endpoints::parse("10.0.0.1:2379, http://10.0.0.2:2379/").unwrap();
        assert_eq!(two.nodes().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(two.client_url(2).unwrap(), "http://10.0.0.2:2379");
        assert!(two.client_url(3).is_err() && two.client_url(0).is_err());
        for nonsense in ["", ",", "https://a:1", "a:1,http://a:1"] {
            assert!(Endpoints::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
