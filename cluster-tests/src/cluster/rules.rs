//! The weather as rules of a packet filter.
//!
//! The laboratory's namespace forwards every packet from member to member, and this table judges it on
//! its way. Whole cuts are verdict sets of pairs of addresses; what is only worse has a rule for each
//! thing and way. A change is one transaction: no packet sees half of it.

use super::weather::{Cut, Weather};
use std::net::Ipv4Addr;

/// The least that a narrow link lets through at once: less than a packet, and none would pass.
const BURST_BYTES_MIN: u64 = 16 << 10;

/// The table with nothing in it, under clear weather.
pub fn table(name: &str) -> String {
    format!(
        "add table inet {name}
add set inet {name} dropped {{ type ipv4_addr . ipv4_addr; }}
add set inet {name} resets {{ type ipv4_addr . ipv4_addr; }}
add set inet {name} new_only {{ type ipv4_addr . ipv4_addr; }}
add chain inet {name} worse
add chain inet {name} forward {{ type filter hook forward priority 0; policy accept; }}
add rule inet {name} forward ip saddr . ip daddr @dropped drop
add rule inet {name} forward ip saddr . ip daddr @resets tcp flags & rst == 0 reject with tcp reset
add rule inet {name} forward ip saddr . ip daddr @new_only tcp flags & syn == syn drop
add rule inet {name} forward jump worse
"
    )
}

/// What turns the table's weather, whatever it was, into this one. `address`: a node's.
pub fn change(name: &str, weather: &Weather, address: impl Fn(usize) -> Ipv4Addr) -> String {
    let mut text = String::new();
    for set in ["dropped", "resets", "new_only"] {
        text += &format!("flush set inet {name} {set}\n");
    }
    text += &format!("flush chain inet {name} worse\n");
    for (from, to, quality) in weather.ways() {
        let (from, to) = (address(from), address(to));
        let set = match quality.cut {
            None => None,
            Some(Cut::Drop) => Some("dropped"),
            Some(Cut::Reset) => Some("resets"),
            Some(Cut::NewOnly) => Some("new_only"),
        };
        if let Some(set) = set {
            text += &format!("add element inet {name} {set} {{ {from} . {to} }}\n");
        }
        let mut worse = |rule: String| {
            text +=
                &format!("add rule inet {name} worse ip saddr {from} ip daddr {to} {rule} drop\n");
        };
        if let Some(largest) = quality.largest {
            worse(format!("meta length gt {largest}"));
        }
        if quality.loss_per_mille > 0 {
            worse(format!(
                "numgen random mod 1000 < {}",
                quality.loss_per_mille
            ));
        }
        if let Some(rate) = quality.rate {
            let burst = (rate / 4).max(BURST_BYTES_MIN);
            worse(format!(
                "limit rate over {} bytes/second burst {burst} bytes",
                rate.max(1)
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::weather::Quality;

    #[test]
    fn a_weather_is_one_transaction() {
        let address = |node: usize| Ipv4Addr::new(10, 77, u8::try_from(node).unwrap(), 2);
        let mut weather = Weather::clear();
        weather.worsen(1, 2, &Quality::cut(Cut::Drop));
        weather.worsen(2, 1, &Quality::cut(Cut::NewOnly));
        let worse = Quality {
            loss_per_mille: 50,
            rate: Some(100_000),
            largest: Some(500),
            ..Quality::default()
        };
        weather.worsen(1, 3, &worse);
        assert_eq!(
            change("t", &weather, address),
            "flush set inet t dropped
flush set inet t resets
flush set inet t new_only
flush chain inet t worse
add element inet t dropped { 10.77.1.2 . 10.77.2.2 }
add rule inet t worse ip saddr 10.77.1.2 ip daddr 10.77.3.2 meta length gt 500 drop
add rule inet t worse ip saddr 10.77.1.2 ip daddr 10.77.3.2 numgen random mod 1000 < 50 drop
add rule inet t worse ip saddr 10.77.1.2 ip daddr 10.77.3.2 limit rate over 100000 bytes/second \
             burst 25000 bytes drop
add element inet t new_only { 10.77.2.2 . 10.77.1.2 }
"
        );
    }
}
