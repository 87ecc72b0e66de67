//! Faults that a server is known for.
//!
//! The control group is a real etcd, an old one, and the judges find real faults of it that were mended
//! in later versions. They are shown, as what they are, and do not fail the run: it is not the
//! laboratory that is wrong. The table names the exact version, so that nothing of ours, and no newer
//! etcd, is ever excused.

use super::finding::{Finding, Verdict};

struct Known {
    /// As the server says who it is.
    server: &'static str,
    judge: &'static str,
    what: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        server: "etcd 3.4.23",
        judge: "watch-bookmarkable",
        what: "etcd #15220: progress that is asked for does not wait for the events before it",
    },
    Known {
        server: "etcd 3.4.23",
        judge: "watch-progress",
        what: "etcd #15220: progress that is asked for does not wait for the events before it",
    },
];

/// Marks what the server is known for.
pub fn mark(server: &str, findings: &mut [Finding]) {
    for finding in findings.iter_mut() {
        let known = KNOWN
            .iter()
            .find(|known| known.server == server && known.judge == finding.judge);
        if let Some(known) = known
            && finding.verdict == Verdict::Failed
        {
            finding.verdict = Verdict::Known;
            finding.summary = format!("{}: {}", known.what, finding.summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_server_is_excused_and_only_for_that() {
        let failed = |judge: &str| Finding::failed(judge, "", 1, Vec::new());
        let verdicts = |server: &str| {
            let mut findings = [failed("watch-progress"), failed("watch-reliable")];
            mark(server, &mut findings);
            findings.map(|finding| finding.verdict)
        };
        assert_eq!(verdicts("etcd 3.4.23"), [Verdict::Known, Verdict::Failed]);
        assert_eq!(verdicts("quorate 3.4.23"), [Verdict::Failed; 2]);
        assert!(!Verdict::Known.fails_run());
    }
}
