//! Tables with borders; only what is a table anyway.

use super::render::{Answer, hash_row, member_row, status_row};
use crate::ctl::go;

pub(super) fn render(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Members(response) => Some(draw(
            [
                "ID",
                "STATUS",
                "NAME",
                "PEER ADDRS",
                "CLIENT ADDRS",
                "IS LEARNER",
            ],
            response.members.iter().map(member_row).collect(),
        )),
        Answer::EndpointStatus(all) => Some(draw(
            [
                "ENDPOINT",
                "ID",
                "VERSION",
                "DB SIZE",
                "IS LEADER",
                "IS LEARNER",
                "RAFT TERM",
                "RAFT INDEX",
                "RAFT APPLIED INDEX",
                "ERRORS",
            ],
            all.iter().map(status_row).collect(),
        )),
        Answer::EndpointHealth(all) => Some(draw(
            ["ENDPOINT", "HEALTH", "TOOK", "ERROR"],
            all.iter()
                .map(|health| {
                    [
                        health.endpoint.clone(),
                        health.error.is_none().to_string(),
                        go::duration(health.took),
                        health.error.clone().unwrap_or_default(),
                    ]
                })
                .collect(),
        )),
        Answer::EndpointHash(all) => Some(draw(
            ["ENDPOINT", "HASH"],
            all.iter().map(hash_row).collect(),
        )),
        Answer::Range(..)
        | Answer::Put(_)
        | Answer::Delete(_)
        | Answer::Txn(_)
        | Answer::Watch(_)
        | Answer::LeaseGrant(_)
        | Answer::LeaseRevoke(..)
        | Answer::LeaseKeepAlive(_)
        | Answer::LeaseTimeToLive(..)
        | Answer::Leases(_)
        | Answer::MemberAdd(_)
        | Answer::MemberRemove(..)
        | Answer::MemberUpdate(..)
        | Answer::MemberPromote(..)
        | Answer::Alarms(_)
        | Answer::MoveLeader(..) => None,
    }
}

/// Titles centred, cells to the right.
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers have nothing else to do with the rows"
)]
pub(in crate::ctl) fn draw<const COLUMNS: usize>(
    titles: [&str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
) -> String {
    let length = |text: &str| text.chars().count();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows
            .iter()
            .map(|row| length(&row[column]))
            .max()
            .unwrap_or(0);
        cells.max(length(titles[column]))
    });
    let mut rule = String::from("+");
    for width in widths {
        rule.push_str(&"-".repeat(width + 2));
        rule.push('+');
    }
    rule.push('\n');
    let mut text = rule.clone();
    text.push('|');
    for (title, width) in titles.iter().zip(widths) {
        let gap = width - length(title);
        let left = gap / 2;
        let (before, behind) = (" ".repeat(left), " ".repeat(gap - left));
        text.push_str(&format!(" {before}{title}{behind} |"));
    }
    text.push('\n');
    text.push_str(&rule);
    for row in &rows {
        text.push('|');
        for (cell, width) in row.iter().zip(widths) {
            let gap = " ".repeat(width - length(cell));
            text.push_str(&format!(" {gap}{cell} |"));
        }
        text.push('\n');
    }
    text.push_str(&rule);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_looks_like_etcdctls() {
        let row = |endpoint: &str, health: &str, took: &str, error: &str| {
            [endpoint, health, took, error].map(str::to_owned)
        };
        let rows = vec![
            row("127.0.0.1:21979", "true", "2.034031ms", ""),
            row(
                "127.0.0.1:1",
                "false",
                "1.001215503s",
                "context deadline exceeded",
            ),
        ];
        let expected = "\
+-----------------+--------+--------------+---------------------------+
|    ENDPOINT     | HEALTH |     TOOK     |           ERROR           |
+-----------------+--------+--------------+---------------------------+
| 127.0.0.1:21979 |   true |   2.034031ms |                           |
|     127.0.0.1:1 |  false | 1.001215503s | context deadline exceeded |
+-----------------+--------+--------------+---------------------------+
";
        assert_eq!(
            draw(["ENDPOINT", "HEALTH", "TOOK", "ERROR"], rows),
            expected
        );
    }
}
