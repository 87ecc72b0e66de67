//! `quorate data …`, and etcdutl's command line: work on files, without a cluster.
//!
//! ```text
//! quorate data restore FILE …     etcdutl snapshot restore FILE …
//! quorate data status FILE        etcdutl snapshot status FILE
//! ```
//!
//! The flags of `restore` are those that the member will be started with, and are checked in the
//! same way.

use super::print::{Format, draw_table};
use super::run::{Done, Failure, finish, misunderstood};
use crate::backup::read::Verified;
use crate::config::{self, Config, ETCD_VERSION, QUORATE_VERSION, Start};
use crate::env::Env;
use crate::node::restore::{Restore, inspect, restore};
use crate::types::HexId;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Works on a stopped member's files and on backups.
#[derive(Parser)]
#[command(name = "quorate data", arg_required_else_help = true)]
struct DataOptions {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    Restore(Box<RestoreOptions>),
    Status(StatusOptions),
}

/// etcdutl, as far as it works on backups.
#[derive(Parser)]
#[command(name = "etcdutl", arg_required_else_help = true)]
struct EtcdutlOptions {
    #[command(subcommand)]
    command: EtcdutlCommand,
}

#[derive(Subcommand)]
enum EtcdutlCommand {
    /// Manages backups.
    Snapshot {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Prints the version.
    Version,
}

/// Makes a data directory of a new cluster's member from a backup.
#[derive(Args)]
struct RestoreOptions {
    /// The backup, as `snapshot save` wrote it.
    file: PathBuf,
    /// Of the member.
    #[arg(long, default_value = "default")]
    name: String,
    /// The directory to make [default: NAME.etcd].
    #[arg(long, default_value = "", hide_default_value = true)]
    data_dir: String,
    /// Every member of the new cluster.
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Keeps apart clusters with the same URLs.
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// This member's peer URLs.
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Ignore the SHA-256 at the end of the backup; its other checksums still count.
    #[arg(long)]
    skip_hash_check: bool,
    /// How much to increase the latest revision after restore.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..1 << 40))]
    bump_revision: i64,
    /// Count what is older as compacted (required if --bump-revision > 0, disallowed otherwise).
    #[arg(long)]
    mark_compacted: bool,
    /// Of etcd's write-ahead log: not there in a Quorate.
    #[arg(long, hide = true, default_value = "")]
    wal_dir: String,
    #[arg(long, short = 'w', hide = true, default_value = "simple")]
    write_out: String,
}

/// Checks a backup and tells what it holds.
#[derive(Args)]
struct StatusOptions {
    file: PathBuf,
    /// simple, fields, json or table.
    #[arg(long, short = 'w', default_value = "simple")]
    write_out: String,
}

/// Runs `quorate data …`. `arguments` are those behind `data`.
pub fn run_data(arguments: &[OsString], env: &Env) -> ExitCode {
    let words = [OsString::from("quorate data")];
    match DataOptions::try_parse_from(words.iter().chain(arguments)) {
        Ok(options) => answer(execute(options.command, env)),
        Err(error) => misunderstood(&error),
    }
}

/// Runs etcdutl's command line. `arguments` are without the program's name.
pub fn run_etcdutl(arguments: &[OsString], env: &Env) -> ExitCode {
    let words = [OsString::from("etcdutl")];
    let options = match EtcdutlOptions::try_parse_from(words.iter().chain(arguments)) {
        Ok(options) => options,
        Err(error) => return misunderstood(&error),
    };
    answer(match options.command {
        EtcdutlCommand::Snapshot { command } => execute(command, env),
        EtcdutlCommand::Version => Ok(Done {
            stdout: format!(
                "etcdutl version: {ETCD_VERSION}\nAPI version: 3.6\n\
                 quorate version: {QUORATE_VERSION}\n"
            )
            .into_bytes(),
            ..Done::default()
        }),
    })
}

fn answer(done: Result<Done, Failure>) -> ExitCode {
    match done {
        Ok(done) => finish(done, None),
        Err(failure) => finish(Done::default(), Some(failure)),
    }
}

fn execute(command: DataCommand, env: &Env) -> Result<Done, Failure> {
    match command {
        DataCommand::Restore(options) => run_restore(*options, env),
        DataCommand::Status(options) => {
            let format = Format::parse(&options.write_out)?;
            let verified = inspect(&options.file, &env.disk);
            let verified = verified.map_err(|error| Failure::error(format!("{error:#}")))?;
            let stdout = show(&verified, format)?.into_bytes();
            Ok(Done {
                stdout,
                ..Done::default()
            })
        }
    }
}

fn run_restore(options: RestoreOptions, env: &Env) -> Result<Done, Failure> {
    if !options.wal_dir.is_empty() {
        return Err(Failure::bad_arguments(
            "--wal-dir: the log of a Quorate is in its data directory",
        ));
    }
    if (options.bump_revision > 0) != options.mark_compacted {
        return Err(Failure::bad_arguments(
            "--mark-compacted required if --bump-revision > 0, disallowed otherwise",
        ));
    }
    let plan = Restore {
        config: member(&options)?,
        backup: options.file,
        skip_hash_check: options.skip_hash_check,
        bump_revision: options.bump_revision,
    };
    let restored = restore(&plan, env);
    let restored = restored.map_err(|error| Failure::error(format!("{error:#}")))?;
    let stdout = format!(
        "restored revision {} into {}: member {} of cluster {}\n",
        restored.revision,
        plan.config.data_dir.display(),
        HexId(restored.member),
        HexId(restored.cluster)
    );
    Ok(Done {
        stdout: stdout.into_bytes(),
        ..Done::default()
    })
}

/// The member as `serve` would understand the same flags.
fn member(options: &RestoreOptions) -> Result<Config, Failure> {
    let flags = [
        ("--name", &options.name),
        ("--data-dir", &options.data_dir),
        ("--initial-cluster", &options.initial_cluster),
        ("--initial-cluster-token", &options.initial_cluster_token),
        (
            "--initial-advertise-peer-urls",
            &options.initial_advertise_peer_urls,
        ),
    ];
    let words = flags.map(|(flag, value)| format!("{flag}={value}"));
    let read = config::read(words, []);
    match read
        .map_err(|error| Failure::bad_arguments(error.to_string()))?
        .start
    {
        Start::Serve(config) => Ok(*config),
        Start::Print(text) => Err(Failure::bad_arguments(text)),
    }
}

/// In etcdutl's formats.
fn show(verified: &Verified, format: Format) -> Result<String, Failure> {
    let manifest = &verified.manifest;
    let (hash, revision, keys) = (verified.hash, manifest.revision, manifest.live_keys);
    let (bytes, version) = (verified.bytes, &manifest.storage_version);
    let row = [
        format!("{hash:x}"),
        revision.to_string(),
        keys.to_string(),
        super::go::size(i64::try_from(bytes).unwrap_or(i64::MAX)),
        version.clone(),
    ];
    match format {
        Format::Simple => Ok(format!("{}\n", row.join(", "))),
        Format::Table => Ok(draw_table(
            ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"],
            vec![row],
        )),
        Format::Fields => Ok(format!(
            "\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {keys}\n\"Size\" : {bytes}\n\
             \"Version\" : {version:?}\n"
        )),
        Format::Json => Ok(format!(
            "{{\"hash\":{hash},\"revision\":{revision},\"totalKey\":{keys},\"totalSize\":{bytes},\
             \"version\":{version:?}}}\n"
        )),
        Format::Protobuf => Err(Failure::bad_feature(
            "protobuf not supported as output format",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory;
        DataOptions::command().debug_assert();
        EtcdutlOptions::command().debug_assert();
    }

    #[test]
    fn what_serve_would_refuse_is_refused() {
        let options = |words: &[&str]| {
            let words = ["data", "restore", "file"].iter().chain(words);
            match DataOptions::try_parse_from(words).unwrap().command {
                DataCommand::Restore(options) => *options,
                DataCommand::Status(_) => panic!("restore was asked for"),
            }
        };
        let config = member(&options(&[])).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
        let failure = member(&options(&["--name=n1"])).unwrap_err();
        assert!(failure.text.contains("n1"), "{}", failure.text);
        let without_mark = options(&["--bump-revision=5"]);
        let failure = run_restore(without_mark, &Env::real()).err().unwrap();
        assert!(failure.text.contains("--mark-compacted"));
    }
}
