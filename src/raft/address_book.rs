//! Where to dial a member. A local override precedes the replicated address: the laboratory puts
//! its proxies there, and an operator can mend a wrong advertised URL with it.

use super::type_config::MemberNode;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    /// Advertised peer URL -> `host:port`.
    overrides: BTreeMap<String, String>,
}

impl AddressBook {
    pub fn new(overrides: BTreeMap<String, String>) -> Self {
        Self { overrides }
    }

    /// The `host:port` to dial for a member, from its first usable peer URL.
    pub fn dial(&self, member: &MemberNode) -> Option<String> {
        self.dial_any(&member.peer_urls)
    }

    /// The same from peer URLs.
    pub fn dial_any(&self, peer_urls: &[String]) -> Option<String> {
        let mut urls = peer_urls.iter();
        let by_override = urls.find_map(|url| self.overrides.get(url).cloned());
        by_override.or_else(|| peer_urls.iter().find_map(|url| authority(url)))
    }
}

/// `http://host:port/` -> `host:port`.
fn authority(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let authority = rest.split('/').next()?;
    (!authority.is_empty()).then(|| authority.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(urls: &[&str]) -> MemberNode {
        MemberNode {
            name: "n".into(),
            peer_urls: urls.iter().map(ToString::to_string).collect(),
            votes: true,
        }
    }

    #[test]
    fn an_override_precedes_the_replicated_address() {
        let book = AddressBook::new([("http://b:2380".into(), "127.0.0.1:9".into())].into());
        assert_eq!(
            book.dial(&member(&["http://a:2380", "http://b:2380"]))
                .unwrap(),
            "127.0.0.1:9"
        );
        assert_eq!(book.dial(&member(&["http://a:2380/"])).unwrap(), "a:2380");
        assert_eq!(book.dial(&member(&["https://a:2380"])), None);
    }
}
