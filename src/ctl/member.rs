//! `member add|remove|update|promote|list`.

use super::go;
use super::options::MemberCommand;
use super::print::{Answer, Format};
use super::run::{Done, Failure, Session};
use crate::proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, RangeRequest,
};
use bytes::Bytes;
use std::time::Duration;

/// Before the list is asked for again that does not hold the new member yet.
const LIST_AGAIN_AFTER: Duration = Duration::from_millis(25);

pub(super) async fn run(session: &Session, command: &MemberCommand) -> Result<Done, Failure> {
    match command {
        MemberCommand::Add {
            arguments,
            peer_urls,
            learner,
        } => add(session, arguments, peer_urls, *learner).await,
        MemberCommand::Remove { arguments } => {
            let id = member_id(arguments)?;
            session.must_print(&Answer::MemberRemove(MemberRemoveResponse::default(), id))?;
            let request = MemberRemoveRequest { id };
            let response = session.client.member_remove(request).await?;
            session.print(&Answer::MemberRemove(response, id))
        }
        MemberCommand::Update {
            arguments,
            peer_urls,
        } => {
            let id = member_id(arguments)?;
            let peer_ur_ls = urls(peer_urls)?;
            session.must_print(&Answer::MemberUpdate(MemberUpdateResponse::default(), id))?;
            let request = MemberUpdateRequest { id, peer_ur_ls };
            let response = session.client.member_update(request).await?;
            session.print(&Answer::MemberUpdate(response, id))
        }
        MemberCommand::Promote { arguments } => {
            let id = member_id(arguments)?;
            session.must_print(&Answer::MemberPromote(MemberPromoteResponse::default(), id))?;
            let request = MemberPromoteRequest { id };
            let response = session.client.member_promote(request).await?;
            session.print(&Answer::MemberPromote(response, id))
        }
        MemberCommand::List { .. } => {
            let request = MemberListRequest { linearizable: true };
            let response = session.client.member_list(request).await?;
            session.print(&Answer::Members(response))
        }
    }
}

async fn add(
    session: &Session,
    arguments: &[String],
    peer_urls: &str,
    is_learner: bool,
) -> Result<Done, Failure> {
    let name = match arguments {
        [name] => name,
        [] => return Err(Failure::bad_arguments("member name not provided")),
        _ => {
            let mut text = "too many arguments".to_owned();
            for url in arguments {
                if url.to_lowercase().starts_with("http") {
                    text.push_str(&format!(", did you mean --peer-urls={url}"));
                }
            }
            return Err(Failure::bad_arguments(text));
        }
    };
    let peer_ur_ls = urls(peer_urls)?;
    session.must_print(&Answer::MemberAdd(MemberAddResponse::default()))?;
    let request = MemberAddRequest {
        peer_ur_ls,
        is_learner,
    };
    let response = session.client.member_add(request).await?;
    let id = response.member.as_ref().map_or(0, |member| member.id);
    let mut done = session.print(&Answer::MemberAdd(response))?;
    if session.format == Format::Simple {
        let members = list_with(session, id).await?;
        let variables = variables(name, peer_urls, id, &members);
        done.stdout.extend_from_slice(variables.as_bytes());
    }
    Ok(done)
}

/// The members, from somebody who knows of the new one already: in etcd 3.4 each member answers
/// from its own state.
async fn list_with(session: &Session, id: u64) -> Result<Vec<Member>, Failure> {
    let asking = async {
        loop {
            let request = MemberListRequest { linearizable: true };
            let members = session.client.member_list(request).await?.members;
            if members.iter().any(|member| member.id == id) {
                return Ok(members);
            }
            // A linearizable read makes a member catch up.
            let request = RangeRequest {
                key: Bytes::from_static(b"_"),
                ..RangeRequest::default()
            };
            session.client.range(request).await?;
            tokio::time::sleep(LIST_AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(session.global.timeout(), asking)
        .await
        .map_err(|_| Failure::error("context deadline exceeded"))?
}

/// What the new member is to be started with.
fn variables(name: &str, peer_urls: &str, id: u64, members: &[Member]) -> String {
    let of = |member: &Member| {
        let known = if member.id == id { name } else { &member.name };
        let peers = member.peer_ur_ls.iter();
        peers
            .map(|url| format!("{known}={url}"))
            .collect::<Vec<_>>()
    };
    let cluster: Vec<String> = members.iter().flat_map(of).collect();
    let quote = |text: &str| go::quote(text.as_bytes());
    format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n\
         ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        quote(name),
        quote(&cluster.join(",")),
        quote(peer_urls)
    )
}

fn member_id(arguments: &[String]) -> Result<u64, Failure> {
    let [id] = arguments else {
        return Err(Failure::bad_arguments("member ID is not provided"));
    };
    go::parse_hexadecimal(id).map_err(|why| {
        Failure::bad_arguments(format!("bad member ID arg ({why}), expecting ID in Hex"))
    })
}

/// Looked at here as in etcd's client, before anybody is asked.
fn urls(text: &str) -> Result<Vec<String>, Failure> {
    if text.is_empty() {
        return Err(Failure::bad_arguments("member peer urls not provided"));
    }
    let urls: Vec<String> = text.split(',').map(str::to_owned).collect();
    for url in &urls {
        let url = url.trim();
        let is_known = |scheme| matches!(scheme, "http" | "https" | "unix" | "unixs");
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if is_known(scheme) => (scheme, rest),
            _ => {
                let expected = "URL scheme must be http, https, unix, or unixs";
                return Err(Failure::error(format!("{expected}: {url}")));
            }
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if scheme.starts_with("http") && !has_port(host) {
            let expected = "URL address does not have the form \"host:port\"";
            return Err(Failure::error(format!("{expected}: {url}")));
        }
        if !path.is_empty() || rest.ends_with('/') {
            return Err(Failure::error(format!(
                "URL must not contain a path: {url}"
            )));
        }
    }
    Ok(urls)
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(host, port)| {
        !port.contains(']') && (!host.contains(':') || host.ends_with(']'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_looked_at_as_in_etcds_client() {
        for good in ["http://h:1", "https://[::1]:2380", "http://a:1,http://b:2"] {
            assert!(urls(good).is_ok(), "{good}");
        }
        for (bad, text) in [
            ("bad", "URL scheme must be http, https, unix, or unixs: bad"),
            (
                "http://h",
                "URL address does not have the form \"host:port\": http://h",
            ),
            ("http://h:1/x", "URL must not contain a path: http://h:1/x"),
            ("", "member peer urls not provided"),
        ] {
            assert_eq!(urls(bad).unwrap_err().text, text);
        }
    }

    #[test]
    fn a_new_member_is_told_who_is_there() {
        let member = |id, name: &str, url: &str| Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: vec![url.to_owned()],
            ..Member::default()
        };
        let members = [member(1, "", "http://b:1"), member(2, "a", "http://a:1")];
        assert_eq!(
            variables("b", "http://b:1", 1, &members),
            "\nETCD_NAME=\"b\"\nETCD_INITIAL_CLUSTER=\"b=http://b:1,a=http://a:1\"\n\
             ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://b:1\"\n\
             ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        );
    }
}
