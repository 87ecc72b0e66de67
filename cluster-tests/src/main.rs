//! `cluster-tests`: what the scripts call.
#![allow(clippy::print_stdout, reason = "it talks to a terminal")]

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use cluster_tests::bench::{self, System, scenario::Scenario};
use cluster_tests::cluster::carrier::Wiring;
use cluster_tests::cluster::control::{Request, tell};
use cluster_tests::cluster::layout::Layout;
use cluster_tests::cluster::local::Spec;
use cluster_tests::cluster::program::Program;
use cluster_tests::cluster::{commands, daemon};
use cluster_tests::differential::areas::Area;
use cluster_tests::differential::{self, Plan};
use cluster_tests::faults::{self, Context, Story};
use cluster_tests::run::{command, matrix};
use cluster_tests::{canaries, ctl, demo, gateway, script, sim, traps};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tikv_jemallocator::Jemalloc;

/// As the product's: a client that allocates slowly makes every server look slow.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The partition laboratory.
#[derive(Parser)]
#[command(name = "cluster-tests", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A local cluster to use, kill and split.
    Cluster {
        /// Where its data lives.
        #[arg(long, default_value = "target/cluster")]
        dir: PathBuf,
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Three nodes agree, whatever happens to one of them: the tour of scripts/demo.
    Demo {
        /// Writes through each member at each stage.
        #[arg(long, default_value_t = 200)]
        puts: usize,
    },
    /// Quorate and etcd under the same load, in turn.
    Bench {
        /// What Quorate is compared with.
        #[arg(long, value_enum, default_value = "etcd")]
        peer: Peer,
        /// Another etcd than the one on the path.
        #[arg(long)]
        peer_bin: Option<PathBuf>,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Of each load.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Three minutes: one round of the loads that are soon told.
        #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
        quick: bool,
        /// Only these.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Scenario>,
        /// Of the scenario `load` only those, by call and clients: put:64, get:256.
        #[arg(long, value_delimiter = ',')]
        loads: Vec<String>,
        /// Where table and curves go.
        #[arg(long, default_value = "target/bench")]
        dir: PathBuf,
    },
    /// The server that does nothing, which the bench measures its client with.
    #[command(hide = true)]
    EmptyHandler { address: String },
    /// The same requests to Quorate and to a real etcd; every answer compared.
    Differential {
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
        /// Repeats a run (default: a random one).
        #[arg(long)]
        seed: Option<u64>,
        /// What is compared with etcd.
        #[arg(long, value_enum, default_value = "quorate")]
        subject: Program,
        /// Only these services, and the KV service.
        #[arg(long, value_enum, value_delimiter = ',')]
        areas: Vec<Area>,
        /// How long a run that failed may be shortened.
        #[arg(long, default_value_t = 300)]
        shrink_seconds: u64,
        /// Where the data goes; in memory it is quicker, and nothing here is about disks.
        #[arg(long, default_value = "target/faults")]
        dir: PathBuf,
    },
    /// The thirty traps of the etcd API, on a real etcd and on Quorate.
    Traps {
        /// Only on this server.
        #[arg(long, value_enum)]
        program: Option<Program>,
        /// Only these, by number.
        #[arg(long, value_delimiter = ',')]
        only: Vec<u32>,
    },
    /// The JSON gateway beside a real etcd's.
    Gateway,
    /// The same command lines to our client and to etcdctl, each against its own etcd.
    Ctl,
    /// Clients at work while links are cut and members die; judges; a report.
    Run {
        #[command(flatten)]
        arguments: command::Arguments,
        /// Every fault that applies, one run each; a matrix.
        #[arg(long, conflicts_with_all = ["schedule", "time", "nemesis"])]
        all: bool,
        /// Of --all.
        #[arg(long, default_value = "20m", value_parser = command::duration)]
        budget: Duration,
    },
    /// Judge a recorded run again.
    Check {
        dir: PathBuf,
        /// The other run of a comparison.
        #[arg(long)]
        control: Option<PathBuf>,
    },
    /// Plant bugs, one after the other, until a judge catches each: needs quorate-canaries.
    Canaries(canaries::Arguments),
    /// Tell written stories, and compare with what is recorded.
    Script(script::command::Arguments),
    /// The same in simulated time: seeds, each a cluster, clients and faults of its own, exact.
    Sim(sim::command::Arguments),
    /// Kill, cut and insult clusters; judge what their clients were told.
    Faults {
        /// Rounds of kills.
        #[arg(long, default_value_t = 8)]
        rounds: usize,
        /// Repeats a run (default: a random one).
        #[arg(long)]
        seed: Option<u64>,
        /// Only these stories.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Story>,
        /// On which server: the judges must be content with etcd too.
        #[arg(long, value_enum, default_value = "quorate")]
        program: Program,
        /// What carries the members' messages; packets: in a network namespace, with nft.
        #[arg(long, value_enum, default_value = "proxies")]
        wiring: Wiring,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Peer {
    Etcd,
    None,
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Start the cluster, or what is missing of it.
    Up {
        /// How many members (default: as many as it has; 3 for a new one).
        #[arg(long)]
        nodes: Option<usize>,
        /// Which server.
        #[arg(long, value_enum, default_value = "quorate")]
        program: Program,
        /// Erase the data first.
        #[arg(long)]
        fresh: bool,
    },
    /// Stop it; the data stays.
    Down,
    /// What every member says of itself.
    Status,
    /// The end of a member's log.
    Logs {
        node: usize,
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: usize,
        #[arg(long, short)]
        follow: bool,
    },
    /// kill -9 a member.
    Kill { node: usize },
    /// SIGSTOP a member.
    Pause { node: usize },
    /// SIGCONT a member.
    Resume { node: usize },
    /// Kill a member if it runs, and start it on its data.
    Restart { node: usize },
    /// Cut links: "1|2,3" (sides), "1" (isolate), "1,2,3|3,4,5" (bridge), "1>2,3" (one way).
    Partition { topology: String },
    /// Open every link.
    Heal,
    /// The process that `up` starts.
    #[command(hide = true)]
    Daemon {
        #[arg(long)]
        nodes: usize,
        #[arg(long, value_enum)]
        program: Program,
    },
}

fn main() -> ExitCode {
    quiet_on_a_closed_pipe();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a run that did not pass is to the shell.
fn passed(passed: bool) -> Result<()> {
    anyhow::ensure!(passed, "the run did not pass");
    Ok(())
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.context("start the runtime")?;
    match arguments.command {
        Command::Cluster { dir, command } => runtime.block_on(cluster(&dir, command)),
        Command::Run {
            arguments,
            all,
            budget,
        } => passed(if all {
            runtime.block_on(Box::pin(matrix::run(&arguments, budget)))?
        } else {
            runtime.block_on(Box::pin(command::run(&arguments)))?
        }),
        Command::Canaries(arguments) => {
            let caught = runtime.block_on(Box::pin(canaries::run(&arguments)))?;
            anyhow::ensure!(
                caught,
                "a canary was not caught, or something that is none was"
            );
            Ok(())
        }
        Command::Sim(arguments) => {
            let passed = runtime.block_on(Box::pin(sim::command::run(&arguments)))?;
            anyhow::ensure!(passed, "not every seed passed");
            Ok(())
        }
        Command::Script(arguments) => passed(script::command::run(&arguments, runtime.handle())?),
        Command::Check { dir, control } => passed(command::check(&dir, control.as_deref())?),
        Command::Demo { puts } => {
            runtime.block_on(Box::pin(demo::run(Path::new("target/faults"), puts)))
        }
        Command::Bench {
            peer,
            peer_bin,
            rounds,
            seconds,
            quick,
            only,
            loads,
            dir,
        } => {
            let usual = if quick {
                &Scenario::QUICK[..]
            } else {
                &Scenario::ALL[..]
            };
            let plan = bench::Plan {
                rounds: if quick { 1 } else { rounds },
                duration: Duration::from_secs(if quick { 2 } else { seconds }),
                quick,
                scenarios: if only.is_empty() {
                    usual.to_vec()
                } else {
                    only
                },
                systems: match peer {
                    Peer::Etcd => vec![System::Quorate, System::Etcd, System::Empty],
                    Peer::None => vec![System::Quorate, System::Empty],
                },
                peer_binary: peer_bin,
                loads,
                dir,
            };
            drop(runtime);
            one_thread()?.block_on(Box::pin(bench::run(&plan)))
        }
        Command::EmptyHandler { address } => {
            drop(runtime);
            one_thread()?.block_on(bench::empty::serve(&address))
        }
        Command::Differential {
            requests,
            seed,
            subject,
            areas,
            shrink_seconds,
            dir,
        } => {
            let seed = seed.unwrap_or_else(random_seed);
            let plan = Plan {
                requests,
                seed,
                subject,
                areas,
                shrink: Duration::from_secs(shrink_seconds),
                dir,
            };
            runtime.block_on(Box::pin(differential::run(&plan)))
        }
        Command::Gateway => runtime.block_on(Box::pin(gateway::run(Path::new("target/faults")))),
        Command::Ctl => runtime.block_on(Box::pin(ctl::run(Path::new("target/faults")))),
        Command::Traps { program, only } => {
            let both = vec![Program::Etcd, Program::Quorate];
            let programs = program.map_or(both, |program| vec![program]);
            let dir = Path::new("target/faults/traps");
            runtime.block_on(Box::pin(traps::run(dir, &programs, &only)))
        }
        Command::Faults {
            rounds,
            seed,
            only,
            program,
            wiring,
        } => {
            let seed = seed.unwrap_or_else(random_seed);
            let context = Context {
                program,
                wiring,
                seed,
                rounds,
                dir: "target/faults".into(),
            };
            let stories = if only.is_empty() {
                &Story::ALL[..]
            } else {
                &only
            };
            runtime.block_on(Box::pin(faults::run(&context, stories)))
        }
    }
}

/// The client shares the machine with the servers that it measures.
fn one_thread() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("start the runtime")
}

async fn cluster(dir: &Path, command: ClusterCommand) -> Result<()> {
    let request = match command {
        ClusterCommand::Up {
            nodes,
            program,
            fresh,
        } => {
            return commands::up(dir, nodes, program, fresh).await;
        }
        ClusterCommand::Down => return commands::down(dir).await,
        ClusterCommand::Status => return commands::status(dir).await,
        ClusterCommand::Logs {
            node,
            lines,
            follow,
        } => {
            return commands::logs(dir, node, lines, follow);
        }
        ClusterCommand::Daemon { nodes, program } => {
            let layout = Layout::of_the_user()?;
            let spec = Spec {
                wiring: Wiring::Proxies,
                ..Spec::new(program, nodes, layout, dir.to_owned())
            };
            return daemon::run(spec).await;
        }
        ClusterCommand::Kill { node } => Request::Kill { node },
        ClusterCommand::Pause { node } => Request::Pause { node },
        ClusterCommand::Resume { node } => Request::Resume { node },
        ClusterCommand::Restart { node } => Request::Restart { node },
        ClusterCommand::Partition { topology } => Request::Partition { topology },
        ClusterCommand::Heal => Request::Heal,
    };
    println!("{}", tell(dir, &request).await?);
    Ok(())
}

/// Short enough to be typed again.
fn random_seed() -> u64 {
    rand::random_range(0..1_000_000)
}

/// `cluster-tests … | head` ends as any other program does, not with a panic's trace. (The usual
/// way, SIGPIPE's default action, takes unsafe code.)
fn quiet_on_a_closed_pipe() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.contains("Broken pipe")) {
            std::process::exit(141);
        }
        usual(panic);
    }));
}
