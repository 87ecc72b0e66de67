//! What an operator does in a run: when there is space on the disks again, the alarm about it is disarmed.
//!
//! A member without space raises NOSPACE, and the cluster refuses what needs space until somebody disarms
//! it, as etcd does; that there is space again does not. So a run whose clients are to be served again
//! needs a hand that does what every operator's handbook says. Members that have not looked at their disk
//! since may raise it once more: it is looked after for a while.

use crate::cluster::local::PATIENCE;
use crate::door::Door;
use crate::schedule::fault::Trouble;
use crate::workload::client::{DEADLINE, Members};
use anyhow::{Result, ensure};
use quorate::proto::etcdserverpb::alarm_request::AlarmAction;
use quorate::proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tonic::Status;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Without an alarm for so long there will be none: members look at their disks four times a second.
const QUIET: Duration = Duration::from_millis(1500);

#[derive(Debug)]
pub struct Operator {
    members: Members,
    /// Whether somebody's disk was full when this was looked at last.
    full: bool,
    task: Option<JoinHandle<Result<()>>>,
}

impl Operator {
    pub fn new(members: &Members) -> Self {
        Self {
            members: members.clone(),
            full: false,
            task: None,
        }
    }

    /// These disks are in trouble now.
    pub fn mind(&mut self, disks: &BTreeMap<usize, Trouble>) {
        let full = disks.values().any(|trouble| *trouble == Trouble::Full);
        if full != self.full {
            self.full = full;
            if let Some(task) = self.task.take() {
                task.abort();
            }
            if !full {
                self.task = Some(tokio::spawn(disarm(self.members.clone())));
            }
        }
    }

    /// Whether it is still at it.
    pub fn is_busy(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// # Errors
    /// What it finished last was not done.
    pub async fn outcome(&mut self) -> Result<()> {
        match self.task.take_if(|task| task.is_finished()) {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }
}

/// Until nobody raises it any more.
async fn disarm(members: Members) -> Result<()> {
    let begun = Instant::now();
    let mut quiet_since = begun;
    let mut last = String::new();
    for turn in 0_usize.. {
        ensure!(
            begun.elapsed() < PATIENCE,
            "NOSPACE is not disarmed for {PATIENCE:?}, though there is space: {last}"
        );
        let all = members.all();
        if let Some((_, url)) = all.get(turn % all.len().max(1)) {
            match disarm_by(&mut Door::open(url, DEADLINE)?).await {
                Ok(0) => {}
                Ok(_) => quiet_since = Instant::now(),
                // No look is no reason to believe that there is none.
                Err(status) => {
                    quiet_since = Instant::now();
                    last = status.to_string();
                }
            }
        }
        if quiet_since.elapsed() >= QUIET {
            break;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Asks one member, as `etcdctl alarm disarm` does. How many there were.
async fn disarm_by(door: &mut Door) -> Result<usize, Status> {
    let mut ask = async |action: AlarmAction, alarm: AlarmMember| {
        let request = AlarmRequest {
            action: action.into(),
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        let answer = door.maintenance.alarm(request).await?;
        Ok::<_, Status>(answer.into_inner().alarms)
    };
    let all = AlarmMember {
        alarm: AlarmType::Nospace.into(),
        ..AlarmMember::default()
    };
    let raised = ask(AlarmAction::Get, all).await?;
    let count = raised.len();
    for alarm in raised {
        ask(AlarmAction::Deactivate, alarm).await?;
    }
    Ok(count)
}
