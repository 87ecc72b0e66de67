//! `alarm list|disarm`.

use super::options::AlarmCommand;
use super::print::Answer;
use super::run::{Done, Failure, Session};
use crate::client::ClientError;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{AlarmRequest, AlarmResponse, AlarmType};

pub(super) async fn run(session: &Session, command: &AlarmCommand) -> Result<Done, Failure> {
    let (name, arguments) = match command {
        AlarmCommand::Disarm { arguments } => ("disarm", arguments),
        AlarmCommand::List { arguments } => ("list", arguments),
    };
    if !arguments.is_empty() {
        return Err(Failure::bad_arguments(format!(
            "alarm {name} command accepts no arguments"
        )));
    }
    session.must_print(&Answer::Alarms(AlarmResponse::default()))?;
    let alarms = match command {
        AlarmCommand::List { .. } => list(session).await?,
        AlarmCommand::Disarm { .. } => disarm(session).await?,
    };
    session.print(&Answer::Alarms(alarms))
}

async fn list(session: &Session) -> Result<AlarmResponse, ClientError> {
    let request = AlarmRequest {
        action: AlarmAction::Get.into(),
        member_id: 0,
        alarm: AlarmType::None.into(),
    };
    session.client.alarm(request).await
}

/// Each alarm by itself; the answer is what was disarmed, without a header, as etcd's client
/// gathers it.
async fn disarm(session: &Session) -> Result<AlarmResponse, ClientError> {
    let mut disarmed = AlarmResponse::default();
    for alarm in list(session).await?.alarms {
        let request = AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        disarmed
            .alarms
            .extend(session.client.alarm(request).await?.alarms);
    }
    Ok(disarmed)
}
