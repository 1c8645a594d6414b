//! `logweir run`: the service.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tracing::{error, info};

use super::signals::{OnHangup, Service, Signals};
use super::{ConfigArgs, Exit, host, runtime, say, stderr_color};
use crate::agent::{self, Ended, FirstAttempts, Inputs, Plan, Report};
use crate::config::{Config, ConfigInput, LoadOptions, ProcessEnvironment, References, load};
use crate::notes::Notes;
use crate::sink::file::Reopen;
use crate::sink::{SinkConfig, SinkKind};
use crate::telemetry::{self, Metrics};

const EXAMPLES: &str = "Examples:
  logweir run                              what /etc/logweir says
  logweir run -c agent.toml --dry-run      see the lines, change nothing
  logweir run -c agent.toml --log debug    and say what it does
";

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What is logged to stderr, for example `debug` or `warn,logweir=info`
    #[arg(
        long,
        value_name = "FILTER",
        env = "LOGWEIR_LOG",
        hide_env_values = true
    )]
    log: Option<String>,
    /// Write to stdout what would go to the sinks, and remember nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs until a signal. Blocks.
pub(super) fn run(args: RunArgs) -> Exit {
    let mut config = match configuration(&args) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let filter = args.log.as_deref().unwrap_or(&config.agent.log);
    if let Err(error) = telemetry::init(filter) {
        // That of the configuration has been checked.
        say(format_args!("error: --log `{filter}`: {error}"));
        return Exit::Usage;
    }
    raise_open_files_limit();
    let service = Service {
        reopen: Reopen::default(),
        metrics: Metrics::default(),
    };
    let signals = match Signals::new(OnHangup::GoesOn(service.clone())) {
        Ok(signals) => signals,
        Err(error) => {
            error!(%error, "cannot take signals over");
            return Exit::Output;
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("error: cannot start the runtime: {error}"));
            return Exit::Output;
        }
    };
    let state = match args.dry_run {
        true => {
            config.sinks.iter_mut().for_each(print_instead);
            None
        }
        false => Some(config.agent.state.clone()),
    };
    let exit = runtime.block_on(serve(config, state, (service, signals)));
    // A blocking call that hangs (a dead disk, a stalled pipe) must not keep the process.
    runtime.shutdown_background();
    exit
}

fn configuration(args: &RunArgs) -> Result<Config, Exit> {
    let input = ConfigInput::from_argument(args.config.path.as_deref());
    let environment = &ProcessEnvironment;
    let options = LoadOptions {
        references: References::Resolve,
        environment,
    };
    match load(&[input], options) {
        Ok((config, warnings)) => {
            if !warnings.is_empty() {
                say(format_args!(
                    "{}",
                    warnings.render(stderr_color()).trim_end()
                ));
            }
            Ok(config)
        }
        Err(errors) => {
            say(format_args!("{}", errors.render(stderr_color()).trim_end()));
            Err(Exit::Config)
        }
    }
}

/// Makes a sink one that prints what it would deliver.
fn print_instead(sink: &mut SinkConfig) {
    if !matches!(sink.kind, SinkKind::Stdout) {
        sink.kind = SinkKind::Stdout;
        sink.batch.linger = Duration::ZERO;
    }
}

async fn serve(
    config: Config,
    state: Option<PathBuf>,
    (service, mut signals): (Service, Signals),
) -> Exit {
    info!(
        version = env!("CARGO_PKG_VERSION"), sources = config.sources.len(),
        sinks = config.sinks.len(), state = %config.agent.state.display(), "started"
    );
    let plan = Plan {
        sources: config.sources,
        sinks: config.sinks,
        state,
        shutdown: config.agent.shutdown,
        limit: None,
        host: host(),
        first_attempts: FirstAttempts::MayFail,
        inputs: Inputs::Live,
        order: config.agent.order,
        cursor_file: None,
        notes: Notes::log(),
        reopen: service.reopen,
        metrics: service.metrics,
    };
    let (first, second) = tokio::sync::oneshot::channel();
    let stop = async move {
        signals.next().await;
        info!("stopping: what is in flight is delivered");
        // The second signal ends at once.
        let _ = first.send(signals);
    };
    let at_once = async {
        match second.await {
            Ok(mut signals) => signals.next().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = agent::run(plan, stop) => match ended {
            Ok(report) => summarise(&report),
            Err(error) => {
                error!(%error, "cannot start");
                Exit::Config
            }
        },
        () = at_once => {
            error!("ended at once by a second signal: lines in flight are read again next time");
            Exit::Interrupted
        }
    }
}

fn summarise(report: &Report) -> Exit {
    let Report {
        lines,
        retries,
        rejected,
        truncated,
        dropped,
        lost_bytes,
        ..
    } = report;
    let stalled_s = format!("{:.1}", report.stalled.as_secs_f64());
    info!(
        lines,
        retries, rejected, truncated, dropped, lost_bytes, stalled_s, "stopped"
    );
    match &report.ended {
        Ended::SinkFailed(cause) => {
            error!(%cause, "no sink can go on");
            Exit::Output
        }
        _ => Exit::Ok,
    }
}

/// Raises the soft limit of open files to the hard one: every followed file is one.
pub(super) fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // It stays as it is where this is not allowed; files are closed when they are quiet anyway.
    let _ = setrlimit(Resource::Nofile, raised);
}
