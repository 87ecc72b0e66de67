//! When members are compared with each other: etcd's flags of all its versions.

use super::flags::{ConfigError, Given};
use super::parse_duration;
use std::time::Duration;

/// What etcd 3.6 lets its users switch by `--feature-gates`.
enum Gate {
    InitialCorruptCheck,
    /// Here it is always so, or never.
    Is(bool),
    /// How etcd does something of its own; nothing anybody could see.
    Inside,
}

fn gate(name: &str) -> Option<Gate> {
    Some(match name {
        "InitialCorruptCheck" => Gate::InitialCorruptCheck,
        // The marks of `node/corrupt_check` are what it asks for.
        "CompactHashCheck" | "LeaseCheckpoint" | "LeaseCheckpointPersist" => Gate::Is(true),
        "StopGRPCServiceOnDefrag" | "SetMemberLocalAddr" => Gate::Is(false),
        "TxnModeWriteWithSharedBuffer" | "FastLeaseKeepAlive" | "PriorityRequest" => Gate::Inside,
        _ => return None,
    })
}

/// Whether a member compares itself with the others before it starts.
pub(super) fn initial(given: &Given) -> Result<bool, ConfigError> {
    let gates = given.get("feature-gates").unwrap_or("");
    let mut by_gate = false;
    for setting in gates.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(ConfigError::new(format!(
                "missing bool value for feature gate {setting:?}"
            )));
        };
        let on = match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => {
                return Err(ConfigError::new(format!(
                    "invalid value of {name}={value}, err: not a boolean"
                )));
            }
        };
        match gate(name) {
            None => {
                return Err(ConfigError::new(format!(
                    "unrecognized feature gate: {name}"
                )));
            }
            Some(Gate::InitialCorruptCheck) => by_gate = on,
            Some(Gate::Is(is)) if is != on => {
                return Err(ConfigError::new(format!(
                    "feature gate {name} is always {is} here"
                )));
            }
            Some(Gate::Is(_) | Gate::Inside) => {}
        }
    }
    Ok(by_gate
        || given.is_on("initial-corrupt-check", false)?
        || given.is_on("experimental-initial-corrupt-check", false)?)
}

/// How often the leader compares all rows of all members; `None` is never.
pub(super) fn check_time(given: &Given) -> Result<Option<Duration>, ConfigError> {
    let names = ["corrupt-check-time", "experimental-corrupt-check-time"];
    let mut found = names
        .iter()
        .filter_map(|name| given.get(name).map(|text| (name, text)));
    let Some((flag, text)) = found.next() else {
        return Ok(None);
    };
    let every = parse_duration(text)
        .map_err(|why| ConfigError::new(format!("invalid value {text:?} for --{flag}: {why}")))?;
    Ok((!every.is_zero()).then_some(every))
}
