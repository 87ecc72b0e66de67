//! What two runs of the same command have in common.

use super::tool::Recording;

/// Lines whose exit codes differ on purpose: the program's own, as since etcdctl 3.5.
pub const EXIT_CODES: &[&str] = &[
    "lock jobs -- sh -c 'exit 7'",
    "lock jobs -- sh -c 'kill -9 $$'",
];

/// Without ids, durations and sizes; without the log lines of Go's client; of a wrong flag the
/// error alone, once.
pub fn common(recording: &Recording) -> Recording {
    let is_help = recording.stdout.starts_with("NAME:\n");
    let stdout = if is_help { "" } else { &recording.stdout };
    let mut errors: Vec<&str> = recording
        .stderr
        .lines()
        .filter(|line| !line.starts_with("{\"level\":"))
        .collect();
    if is_help
        && let [first, "", second] = errors[..]
        && first == second
    {
        errors.truncate(1);
    }
    let mut stdout = mask(stdout);
    if recording.line.starts_with("member ") {
        // Members are listed by ids, which for new ones are made of the time.
        let mut parts: Vec<&str> = stdout.split(['\n', ',', '{', '}', '"']).collect();
        parts.sort_unstable();
        stdout = parts.join(",");
    }
    let mut stderr = mask(&errors.join("\n"));
    if recording.line.starts_with("member add ") {
        // etcd makes an id of the URLs and the second, and looks at ids first: who adds a member a
        // second time is told of either, depending on the clock.
        stderr = stderr.replace("member ID already exist", "Peer URLs already exists");
    }
    let differs = EXIT_CODES.contains(&recording.line.as_str());
    Recording {
        line: recording.line.clone(),
        stdout,
        stderr,
        code: if differs { 0 } else { recording.code },
    }
}

/// Random ids are hexadecimal words of 14 to 16 digits, right-aligned in some lines, decimal ones of
/// 17 or more, or stand in a key that JSON shows in base64; a lease's remaining time is what a second
/// more or less changes.
fn mask(text: &str) -> String {
    let mut masked = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        let is_decimal = word.len() >= 17 && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_hexadecimal =
            (14..=16).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_key = masked.ends_with("\"key\":\"") && word.len() >= 16;
        while is_hexadecimal && masked.ends_with("  ") {
            masked.pop();
        }
        masked.push_str(match (is_decimal || is_hexadecimal, is_key) {
            (true, _) => "<id>",
            (_, true) => "<key>",
            _ => &word,
        });
        word.clear();
        if character != '\0' {
            masked.push(character);
        }
    }
    let masked = mask_number(&masked, "remaining(");
    let masked = mask_number(&masked, "\"ttl\":");
    let masked = mask_number(&masked, "\"TTL\" : ");
    // Elections of three may take more than one turn.
    let masked = mask_number(&masked, "\"raft_term\":");
    mask_number(&masked, "\"RaftTerm\" : ")
}

/// The number that follows each `before`.
fn mask_number(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(before);
        masked.push_str("<number>");
        masked.push_str(part.trim_start_matches(|character: char| character.is_ascii_digit()));
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_added_twice_is_refused_for_its_id_or_its_urls() {
        let refused = |why: &str| {
            common(&Recording {
                line: "member add s --peer-urls http://127.0.0.9:1".to_owned(),
                stdout: String::new(),
                stderr: format!("Error: etcdserver: {why}\n"),
                code: 1,
            })
        };
        let urls = refused("Peer URLs already exists");
        assert_eq!(refused("member ID already exist"), urls);
        assert_ne!(refused("unhealthy cluster"), urls);
    }

    #[test]
    fn ids_and_times_are_masked_and_nothing_else() {
        assert_eq!(
            mask("lease 19f5a2141e2cda06 granted with TTL(100s), remaining(99s)\n"),
            "lease <id> granted with TTL(100s), remaining(<number>s)\n"
        );
        assert_eq!(
            mask("{\"ID\":1870579427531610632,\"revision\":7,\"ttl\":9}"),
            "{\"ID\":<id>,\"revision\":7,\"ttl\":<number>}"
        );
        assert_eq!(
            mask("Member  7163378b50d8903 added"),
            mask("Member 405a6ca28f1e8578 added")
        );
        assert_eq!(
            mask("\"key\":\"bGsvMTlmNWEyMTQxZjc0YjY2Nw==\",\"key\":\"azE=\""),
            "\"key\":\"<key>==\",\"key\":\"azE=\""
        );
    }

    #[test]
    fn of_a_wrong_flag_the_error_counts() {
        let theirs = Recording {
            line: "lease grant --x".to_owned(),
            stdout: "NAME:\n\tlease grant".to_owned(),
            stderr: "Error: unknown flag: --x\n\nError: unknown flag: --x\n".to_owned(),
            code: 1,
        };
        let ours = Recording {
            stdout: String::new(),
            stderr: "Error: unknown flag: --x\n".to_owned(),
            ..theirs.clone()
        };
        assert_eq!(common(&ours), common(&theirs));
    }
}
