//! The command line: definitions, one file per command, and exit codes.

mod check;
mod completions;
mod config;
mod connect;
mod demo;
mod man;
mod network;
mod output;
mod run;
mod show;
mod signals;
mod tail;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::config::{Color, References};

const EXAMPLES: &str = "Examples:
  logweir tail /var/log/nginx/*.log             follow files, merged by time
  logweir tail app.log | jq -r ._msg            JSON lines in a pipe
  logweir tail https://host/stream wss://host/feed    live streams
  some-command | logweir tail - app.log         standard input, too
  logweir demo                                  see it work, with nothing to set up
  logweir check -c agent.toml                   is this configuration good?
  logweir run -c agent.toml                     the service
";

/// Examples come before the flags.
const TEMPLATE: &str = "{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// Merges logs from many places and never loses a line.
#[derive(Debug, Parser)]
#[command(name = "logweir", version, max_term_width = 100, before_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow sources and merge them to stdout: no configuration, no state
    Tail(Box<tail::TailArgs>),
    /// Run as a service, as the configuration says
    Run(run::RunArgs),
    /// Check a configuration and report every error in it
    Check(CheckArgs),
    /// Show the configuration that is in force, its defaults or its schema
    Config(config::ShowArgs),
    /// Show it all on this machine: 5 HTTP streams, 2 WebSockets and 1 growing file, merged
    Demo(demo::DemoArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Print a manual page: logweir(1), or agent.toml(5) for the configuration
    Man(man::ManArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Do not look up ${env:…}, ${file:…} and ${cred:…}
    #[arg(long)]
    no_env: bool,
    /// Fail on warnings, too
    #[arg(long)]
    deny_warnings: bool,
    /// Reach every source and every sink, and say what is wrong
    #[arg(long, conflicts_with = "no_env")]
    connect: bool,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file, `-` for stdin [default: /etc/logweir/agent.toml and conf.d/*.toml]
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        env = "LOGWEIR_CONFIG",
        hide_env_values = true
    )]
    path: Option<PathBuf>,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ColorChoice {
    /// On a terminal
    Auto,
    /// In a pipe, too
    Always,
    /// Not at all
    Never,
}

/// How a command ended, as sysexits.h and shells know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    /// A source failed for good, and nothing less than all was wanted.
    SourceFailed = 1,
    /// The command line makes no sense (`EX_USAGE`).
    Usage = 64,
    /// Every source failed its first attempt (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Output cannot be written (`EX_IOERR`).
    Output = 74,
    /// Every source was refused: a token, a permission (`EX_NOPERM`).
    Refused = 77,
    /// The configuration cannot be used (`EX_CONFIG`).
    Config = 78,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The whole command line, for the parser and for what is made of its definitions.
fn command() -> clap::Command {
    let command = Cli::command().help_template(TEMPLATE);
    command.mut_subcommands(|it| it.help_template(TEMPLATE).disable_version_flag(true))
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(refused) => {
            // Help and version go to stdout and are no error.
            let code = if refused.use_stderr() { 64 } else { 0 };
            let _ = refused.print();
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Tail(args) => tail::tail(&args).into(),
        Command::Run(args) => run::run(args).into(),
        Command::Demo(args) => demo::demo(&args).into(),
        Command::Config(args) => config::config(&args).into(),
        Command::Completions(args) => completions::completions(&args).into(),
        Command::Man(args) => man::man(&args).into(),
        Command::Check(args) => check::check(&check::CheckOptions {
            config: args.config.path,
            references: if args.no_env {
                References::Placeholders
            } else {
                References::Resolve
            },
            warnings: if args.deny_warnings {
                check::Warnings::Deny
            } else {
                check::Warnings::Allow
            },
            color: stderr_color(),
            connect: if args.connect {
                check::Connect::Everything
            } else {
                check::Connect::Nothing
            },
        }),
    }
}

/// Whether messages on stderr are coloured.
fn stderr_color() -> Color {
    match anstream::AutoStream::choice(&std::io::stderr()) {
        anstream::ColorChoice::Never => Color::Never,
        _ => Color::Always,
    }
}

/// This machine's name.
fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A runtime with all that the agent needs.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    /// Of many cores an agent needs few: its work is short, and the machine is somebody else's.
    const WORKERS_MAX: usize = 4;
    /// Reads of files that hang in the file system each hold one; what is left must do for the rest.
    const BLOCKING_MAX: usize = 96;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .enable_all()
        .build()
}

/// Prints a text to stdout: what was asked for.
fn print(text: &str) -> Exit {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Ok,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            say(format_args!("error: cannot write to stdout: {error}"));
            Exit::Output
        }
    }
}

/// Writes a message to stderr; if that is closed, the exit code is all that can still be said.
fn say(message: std::fmt::Arguments<'_>) {
    crate::terminal::say(&message.to_string());
}
