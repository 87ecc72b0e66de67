//! Runs the state machine's scripts. One store per script, in a temporary directory; every command
//! of a block that changes something is one log entry, except inside `entry ... `.
//!
//! ```text
//! put KEY VALUE [prev] [ignore_value] [ignore_lease] [lease=N]
//! del KEY [END] [prev]                      END: a key, or `inf` for no end
//! get KEY [END] [limit= rev= sort= order= keys count min_mod= max_mod= min_create= max_create=]
//! compact REV
//! txn ["COMPARES"] then="OPS" [else="OPS"]  COMPARES and OPS are separated by ;
//! member ID NAME URL...                     membership BYTES
//! grant ID TTL | revoke ID [term= granted=] | mark ID REMAINING term= granted=
//! term N                                    of the entries from here on
//! leases                                    with their keys
//! alarm on|off nospace|corrupt ID           downgrade [VERSION]
//! blank | flush | reopen | clean | status | events [from=REV] | history
//! ```
//!
//! In an operation of a transaction the words are those of the commands; `txn{...}` nests: compares
//! before the first `|`, then the success branch, `|`, then the failure branch.

use super::render;
use bytes::Bytes;
use goldenscript::Command as Line;
use quorate::state_machine::command::{Alarm, AlarmChange, AlarmKind, Command, MemberAttributes};
use quorate::state_machine::{BatchBuilder, Entry, EntryBody, StateMachine, StateOptions};
use quorate::storage::EngineOptions;
use quorate::types::Position;
use std::error::Error;
use tempfile::TempDir;

use super::parse;

type Output = Result<String, Box<dyn Error>>;

pub(crate) struct Script {
    dir: TempDir,
    machine: Option<StateMachine>,
    index: u64,
    term: u64,
}

impl Script {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self {
            dir,
            machine: None,
            index: 0,
            term: 1,
        }
    }

    fn machine(&mut self) -> Result<&mut StateMachine, Box<dyn Error>> {
        if self.machine.is_none() {
            let options = StateOptions {
                engine: EngineOptions::small(),
                ..StateOptions::default()
            };
            let machine = StateMachine::open(&self.dir.path().join("state"), &options)?;
            self.index = machine.applied().map_or(0, |position| position.index);
            self.machine = Some(machine);
        }
        Ok(self.machine.as_mut().expect("just opened"))
    }

    fn entry(&mut self, body: EntryBody) -> Output {
        let term = self.term;
        let machine = self.machine()?;
        let index = machine.applied().map_or(0, |position| position.index) + 1;
        let entry = Entry {
            position: Position { term, index },
            body,
        };
        let replies = machine.apply(std::slice::from_ref(&entry))?;
        let lines = replies.iter().flatten().map(render::reply);
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn apply(&mut self, commands: &[Command]) -> Output {
        let mut batch = BatchBuilder::new();
        commands.iter().for_each(|command| batch.push(command));
        self.entry(EntryBody::Commands(batch.finish()))
    }

    fn status(&mut self) -> Output {
        let machine = self.machine()?;
        let position =
            |it: Option<Position>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let applied = position(machine.applied());
        let membership = machine.membership().map_or_else(
            || "-".to_owned(),
            |(at, bytes)| format!("{} at {at}", render::text(&bytes)),
        );
        let store = machine.store();
        let durable = position(store.durable_applied()?);
        let view = store.view()?;
        let mut lines = vec![format!(
            "applied {applied} durable {durable} membership {membership} revision {} compacted {} \
             in use {}",
            view.revision(),
            view.compacted(),
            store.sizes()?.logical_in_use,
        )];
        for member in store.roster().published() {
            let urls = member.client_urls.join(",");
            lines.push(format!("member {:x} {} {urls}", member.node, member.name));
        }
        let target = store.downgrade_target();
        lines.extend(target.map(|version| format!("downgrade to {version}")));
        lines.extend(store.alarms().iter().map(render::alarm));
        Ok(lines.join("\n"))
    }
}

impl goldenscript::Runner for Script {
    fn run(&mut self, line: &Line) -> Output {
        let mut words: Vec<(Option<String>, String)> = Vec::new();
        for argument in &line.args {
            words.push((argument.key.clone(), argument.value.clone()));
        }
        match line.name.as_str() {
            "put" => self.apply(&[Command::Put(parse::put(&words)?)]),
            "del" => self.apply(&[Command::DeleteRange(parse::delete(&words)?)]),
            "compact" => {
                let revision = words.first().ok_or("compact REV")?.1.parse()?;
                self.apply(&[Command::Compact { revision }])
            }
            "grant" | "revoke" | "mark" => self.apply(&[parse::lease(&line.name, &words)?]),
            "term" => {
                self.term = words.first().ok_or("term N")?.1.parse()?;
                Ok(String::new())
            }
            "leases" => {
                let store = self.machine()?.store();
                Ok(render::leases(&store.view()?)?)
            }
            "txn" => self.apply(&[Command::Txn(parse::txn(&words)?)]),
            // Several commands in one log entry.
            "entry" => {
                let commands: Result<Vec<_>, _> =
                    words.iter().map(|(_, text)| parse::command(text)).collect();
                self.apply(&commands?)
            }
            "blank" => self.entry(EntryBody::Blank),
            "membership" => {
                let mut words = words.into_iter().map(|(_, word)| word);
                let bytes = Bytes::from(words.next().ok_or("membership BYTES [REMOVED...]")?);
                let removed: Result<_, _> = words.map(|id| u64::from_str_radix(&id, 16)).collect();
                let removed = removed?;
                self.entry(EntryBody::Membership { bytes, removed })
            }
            "member" => {
                let mut words = words.into_iter().map(|(_, word)| word);
                let node = u64::from_str_radix(&words.next().ok_or("member ID")?, 16)?;
                let name = words.next().ok_or("member ID NAME")?;
                let client_urls = words.collect();
                self.apply(&[Command::PublishMember(MemberAttributes {
                    node,
                    name,
                    client_urls,
                })])
            }
            "alarm" => {
                let words: Vec<_> = words.iter().map(|(_, word)| word.as_str()).collect();
                let [on, kind, member] = words.as_slice() else {
                    return Err("alarm on|off KIND ID".into());
                };
                let kind = match *kind {
                    "nospace" => AlarmKind::NoSpace,
                    "corrupt" => AlarmKind::Corrupt,
                    other => return Err(format!("unknown alarm {other}").into()),
                };
                let member = u64::from_str_radix(member, 16)?;
                self.apply(&[Command::Alarm(AlarmChange {
                    alarm: Alarm { kind, member },
                    on: *on == "on",
                })])
            }
            "downgrade" => {
                let target = words.first().map(|(_, version)| version.as_str().into());
                self.apply(&[Command::Downgrade { target }])
            }
            "claim" => {
                let [(_, node), (_, incarnation)] = words.as_slice() else {
                    return Err("claim ID INCARNATION".into());
                };
                self.apply(&[Command::ClaimMember {
                    node: u64::from_str_radix(node, 16)?,
                    incarnation: incarnation.parse()?,
                }])
            }
            "get" => {
                let query = parse::query(&words)?;
                let store = self.machine()?.store();
                let view = store.view()?;
                let header = format!("@{}", view.revision());
                Ok(match view.range(&query)? {
                    Ok(result) => format!("{header} {}", render::range(&result)),
                    Err(refusal) => format!("{header} refused: {refusal}"),
                })
            }
            "read_txn" => {
                let txn = parse::txn(&words)?;
                let store = self.machine()?.store();
                let reply = quorate::state_machine::read_only_txn(&store.view()?, &txn)?;
                Ok(render::reply(&reply))
            }
            // Many keys at once: a prefix, how many, and the size of each value.
            "fill" => {
                let words: Vec<_> = words.into_iter().map(|(_, word)| word).collect();
                let [prefix, count, bytes] = words.as_slice() else {
                    return Err("fill PREFIX COUNT BYTES".into());
                };
                let (count, bytes): (u32, usize) = (count.parse()?, bytes.parse()?);
                for n in 0..count {
                    let value = "x".repeat(bytes);
                    let words = [(None, format!("{prefix}{n:06}")), (None, value)];
                    self.apply(&[Command::Put(parse::put(&words)?)])?;
                }
                Ok(format!("@{}", self.machine()?.store().revision()))
            }
            "flush" => {
                self.machine()?.store().flush()?;
                Ok(String::new())
            }
            "clean" => Ok(format!("{:?}", self.machine()?.store().remove_compacted()?)),
            "reopen" => {
                self.machine = None;
                self.machine()?;
                Ok(String::new())
            }
            "status" => self.status(),
            "rows" => {
                let store = self.machine()?.store();
                Ok(render::rows(&store.view()?)?)
            }
            name => Err(format!("unknown command {name}").into()),
        }
    }
}
