//! Commands that end by themselves. `{format}` stands for each format in turn.

use super::tool::{Recording, Tool};
use anyhow::{Context, Result};
use quorate::proto::etcdserverpb::{
    AlarmRequest, LeaseGrantRequest, PutRequest, StatusRequest, alarm_request::AlarmAction,
};

const FORMATS: &[&str] = &["simple", "fields", "json", "table"];

/// Leases 101 to 104 are there before, of 1000 s; one key is under 101, because etcd lists several
/// in no order.
const ALONE: &str = "\
put a 1 -w {format}
put a 2 --prev-kv -w {format}
get a -w {format}
get a --prefix --keys-only
get nothing -w {format}
del a --prev-kv -w {format}
member list -w table
lease grant 100 -w {format}
lease grant
lease grant 1 2
lease grant abc
lease grant 0
lease grant -- -1
lease grant -1
lease grant 9000000001
lease grant 99999999999999999999
lease grant --nosuch 1
lease grant 10 -w yaml
lease timetolive 101 -w {format}
lease timetolive 101 --keys -w {format}
lease timetolive 1234 -w {format}
lease timetolive 1234 --keys -w {format}
lease timetolive
lease timetolive zz
lease keep-alive --once 101 -w {format}
lease keep-alive --once 1234 -w {format}
lease keep-alive 1234 -w simple
lease keep-alive 1234 -w json
lease keep-alive
lease keep-alive zz
lease keep-alive --once
lease revoke 101
lease revoke 102 -w fields
lease revoke 103 -w json
lease revoke 104 -w table
lease revoke 1234
lease revoke
lease revoke zz
lease revoke 1 2
lease revoke fffffffffffffffff
lease revoke 0x12
lease revoke -- -12
lease list extra -w table
alarm list
alarm list -w json
alarm list -w table
alarm list -w protobuf
alarm list x
alarm disarm
alarm disarm -w json
alarm disarm -w table
alarm disarm x
endpoint hashkv -w {format}
endpoint hashkv -w protobuf
endpoint hashkv --cluster
endpoint hashkv --rev 3
endpoint hashkv --rev 99999
endpoint hashkv x y
defrag -w {format}
defrag --cluster
move-leader
move-leader zz
move-leader 1 2
move-leader 1234
member add
member add a b
member add a http://x:1 b
member add a
member add x --peer-urls bad
member add x --peer-urls http://127.0.0.1
member add x --peer-urls http://127.0.0.1:1/path
member add s --learner --peer-urls http://127.0.0.9:1
member add s --learner --peer-urls http://127.0.0.9:1
member add t --learner --peer-urls http://127.0.0.9:2
member list
member list -w json
member remove
member remove zz
member remove 1234
member remove -- -1
member update
member update 12
member update zz --peer-urls=x
member update 12 --peer-urls http://127.0.0.1:1
member promote
member promote zz
member promote 12
watch
watch --rev 3
watch a b --prefix
watch a --
watch --
watch --rev=x a
watch a --nosuch
watch w --prefix --rev 2 -w simple -- false
watch w --prefix --rev 2 -w fields -- false
watch w --prefix --rev 2 -w json -- false
watch w --prefix --rev 2 -w table -- false
watch w --prefix --rev 2 --prev-kv -w simple -- false
watch w --prefix --rev 2 --prev-kv -w fields -- false
watch w --prefix --rev 2 --prev-kv -w json -- false
watch w --prefix --rev 2 --hex -- false
watch w1 w2 --rev 2 -- false
watch '' --prefix --rev 2 -- false
watch '' w2 --rev 2 -- false
watch w1 --rev 2 -- no-such-program x
watch w1 --rev 2 -- /no/such/program
watch w1 --rev 2 -- sh -c 'kill -9 $$'
watch w1 --rev 2 -- sh -c 'env | grep ETCD_WATCH | sort; exit 3'
watch w --prefix --rev 2 -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE; test $ETCD_WATCH_EVENT_TYPE = PUT'
lock
lock jobs true
lock jobs -- sh -c 'echo it runs'
lock jobs echo it runs
lock jobs -- sh -c 'exit 7'
lock jobs -- sh -c 'kill -9 $$'
lock jobs no-such-program
lock jobs true --ttl 5
lock --ttl=0 jobs true
lock --ttl=x jobs true
lock jobs ls -l
lock jobs true -w yaml
elect
elect post
elect a b c
elect -l a b
snapshot save
snapshot save a b
snapshot save backup.db
snapshot save backup.db -w json
snapshot save /no/such/dir/backup.db
snapshot save x --endpoints=127.0.0.1:1,127.0.0.1:2
snapshot save x --endpoints=127.0.0.1:1 --command-timeout=200ms
check perf --load=zz
check perf --prefix w
compaction 5
watch w1 --rev 2
watch w1 --rev 2 -w fields
watch w1 --rev 2 -w json
watch w1 --rev 2 -- echo no";

/// Whom `{leader}` leads.
const TOGETHER: &str = "\
endpoint hashkv
endpoint hashkv --cluster -w json
defrag
defrag --cluster
move-leader {leader}
move-leader {leader} --endpoints={one}
member list
member list -w fields
member list -w table";

/// Against one member.
pub(super) async fn alone(tool: &mut Tool, all: &mut Vec<Recording>) -> Result<()> {
    let client = tool.client();
    for id in [0x101, 0x102, 0x103, 0x104] {
        let request = LeaseGrantRequest { ttl: 1000, id };
        client.lease_grant(request).await?;
    }
    // Revisions 2 to 7.
    for (key, value, lease) in [
        ("w1", "v 1\"q", 0),
        ("w1", "v2\n\u{1}", 0),
        ("w2", "\u{e9}", 0),
        ("k1", "v", 0x101),
        ("k 2", "v", 0),
    ] {
        let request = PutRequest {
            key: key.into(),
            value: value.into(),
            lease,
            ..PutRequest::default()
        };
        client.put(request).await?;
    }
    all.push(tool.run("del w1").await?);
    for line in expanded(ALONE) {
        all.push(tool.run(&line).await?);
    }
    let from = [
        ("ETCDCTL_WATCH_KEY", "w2"),
        ("ETCDCTL_WATCH_RANGE_END", "w3"),
    ];
    for (line, variables) in [
        ("watch w2", &from[..1]),
        ("watch foo -- echo 1", &from[..1]),
        ("watch --prefix", &from),
        ("watch a", &from[1..]),
        ("get w2", &[("ETCDCTL_WRITE_OUT", "fields")]),
    ] {
        all.push(tool.run_with(line, variables, "").await?);
    }
    let transaction = "value(\"w2\") = \"x\"\n\nput never 1\n\nget w2\nput w3 3\n\n";
    for format in ["simple", "fields", "json"] {
        let line = format!("txn -w {format}");
        all.push(tool.run_with(&line, &[], transaction).await?);
    }
    let file = tool.dir().join("backup.db");
    let length = std::fs::metadata(&file)
        .context("the saved snapshot")?
        .len();
    anyhow::ensure!(length % 512 == 32, "{length} bytes are no backup of etcd's");
    alarms(tool, all).await
}

/// The alarm is raised by hand.
async fn alarms(tool: &Tool, all: &mut Vec<Recording>) -> Result<()> {
    let client = tool.client();
    let member = client.status(StatusRequest {}).await?.header;
    let member_id = member.context("no header")?.member_id;
    for line in ["alarm disarm", "alarm disarm -w json"] {
        let request = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id,
            alarm: 1,
        };
        client.alarm(request).await?;
        // Not `-w fields`: Debian's etcdctl crashes where an answer has no header.
        for line in ["alarm list", "alarm list -w json", line] {
            all.push(tool.run(line).await?);
        }
    }
    Ok(())
}

/// After everything else: a voter that never comes takes the majority away.
pub(super) async fn last(tool: &mut Tool, all: &mut Vec<Recording>) -> Result<()> {
    let line = "member add v --peer-urls http://127.0.0.9:3,http://127.0.0.9:4";
    all.push(tool.run(line).await?);
    Ok(())
}

/// Against three.
pub(super) async fn together(tool: &mut Tool, all: &mut Vec<Recording>) -> Result<()> {
    let status = tool.client().status(StatusRequest {}).await?;
    let leader = format!("{:x}", status.leader);
    let mut follower = String::new();
    for endpoint in tool.endpoints() {
        let one = Tool::new("".into(), vec![endpoint.clone()], "".into());
        let status = one.client().status(StatusRequest {}).await?;
        if status
            .header
            .is_some_and(|header| header.member_id != status.leader)
        {
            follower.clone_from(endpoint);
        }
    }
    for line in TOGETHER.lines() {
        let named = line
            .replace("{leader}", &leader)
            .replace("{one}", &follower);
        let mut recording = tool.run(&named).await?;
        // Which of them leads is luck.
        recording.line = line.to_owned();
        if line.contains("{one}") {
            for text in [&mut recording.stdout, &mut recording.stderr] {
                *text = text.replace(&follower, "{one}");
            }
        }
        all.push(recording);
    }
    Ok(())
}

fn expanded(lines: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines.lines() {
        if line.contains("{format}") {
            all.extend(
                FORMATS
                    .iter()
                    .map(|format| line.replace("{format}", format)),
            );
        } else {
            all.push(line.to_owned());
        }
    }
    all
}
