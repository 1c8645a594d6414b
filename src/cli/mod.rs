//! The command line: definitions, one file per command, and exit codes.

mod check;
mod completions;
mod config;
mod connect;
mod demo;
mod environment;
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
  logweir demo                                  see it work, nothing to set up
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
    ///
    /// Lines go to stdout, as text on a terminal and as JSON in a pipe; notes about connections, and
    /// what was done at the end, go to stderr. A source that is lost is tried again for ever.
    ///
    /// Every flag can also stand in the environment: --no-follow is LOGWEIR_NO_FOLLOW=1, -o json is
    /// LOGWEIR_OUTPUT=json. The command line wins.
    ///
    /// Exit codes: 0 good; 1 a source failed for good (with --strict); 64 wrong usage; 69 nothing could
    /// be read; 74 stdout cannot be written; 77 refused everywhere; 78 bad configuration; 130 Ctrl-C.
    Tail(Box<tail::TailArgs>),
    /// Run as a service, as the configuration says
    ///
    /// What was delivered is remembered in the state directory, so that after a restart or a crash it
    /// goes on there. SIGTERM and Ctrl-C deliver what is in flight and end; a second one ends at once.
    /// SIGHUP and SIGUSR1 open output files anew, as logrotate wants it. SIGUSR2 says in the log what
    /// every source, every service of a health source and every sink did so far.
    ///
    /// Exit codes: 0 good; 74 no sink can go on; 78 bad configuration, or a state directory that cannot
    /// be used; 130 ended at once.
    Run(run::RunArgs),
    /// Check a configuration and report every error in it
    ///
    /// Each finding shows the place, and what would be right. What passes, `run` starts with. Nothing
    /// is read, written or connected to, unless --connect asks for it.
    ///
    /// Exit codes: 0 good; 69 something cannot be reached (with --connect); 78 bad.
    Check(CheckArgs),
    /// Show the configuration that is in force, its defaults or its schema
    ///
    /// It is printed as TOML that means the same. Secrets are never shown: references such as
    /// ${env:TOKEN} stay references, and what is written out in plain text is masked.
    Config(config::ShowArgs),
    /// Show it all on this machine: 5 HTTP streams, 2 WebSockets and 1 growing file, merged
    ///
    /// Servers and a writer run inside this process, some slow, some fast, and one is cut again and
    /// again; the lines take the same way as any others. Nothing is left behind when it ends.
    Demo(demo::DemoArgs),
    /// Print the completions of a shell
    ///
    /// The script completes commands, flags and their values. Put it where the shell looks for it, as
    /// the examples do, and start a new shell.
    Completions(completions::CompletionsArgs),
    /// Print a manual page: logweir(1), or agent.toml(5) for the configuration
    ///
    /// The page comes as roff, for man(1) to show or to install.
    Man(man::ManArgs),
}

const CHECK_EXAMPLES: &str = "Examples:
  logweir check                         what /etc/logweir adds up to
  logweir check -c agent.toml           one file, before it is installed
  logweir check --connect               and reach every source and sink
  logweir check --no-env -c agent.toml  where the secrets are not, as in CI
";

#[derive(Debug, Args)]
#[command(before_help = CHECK_EXAMPLES)]
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
    let args: Vec<_> = std::env::args_os().collect();
    let matches = environment::matches(command(), &args, |name| std::env::var_os(name));
    let cli = matches
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| (error, Vec::new())));
    let cli = match cli {
        Ok(cli) => cli,
        Err((refused, variables)) => {
            // Help and version go to stdout and are no error.
            let code = if refused.use_stderr() { 64 } else { 0 };
            let _ = refused.print();
            if !variables.is_empty() {
                say(format_args!("note: {} is set", variables.join(", ")));
            }
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
