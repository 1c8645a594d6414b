//! `logweir demo`: the whole scenario on loopback, inside this process, through the real sources:
//! five HTTP streams, two WebSocket servers and one growing file, some slow, some fast, one that is
//! cut again and again.

mod feed;
mod file;
mod http;
mod lines;
mod websocket;

use std::future::Future;
use std::io;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::feed::Feed;
use self::file::AppLog;
use self::http::{Service, Shape};
use super::output::OutputArgs;
use super::{Exit, say, show};
use crate::config::{ArgumentOptions, NetworkOptions, sources_from_arguments};
use crate::source::file::{Follow, Start};
use crate::source::{RecordRules, SourceConfig};

const EXAMPLES: &str = "Examples:
  logweir demo                        until Ctrl-C
  logweir demo --for 10s | jq -r ._source | sort | uniq -c
  logweir demo -T '{time:%H:%M:%S} {source} {msg}'
";

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs until a limit is reached or a signal comes. Blocks.
pub(super) fn demo(args: &DemoArgs) -> Exit {
    show::init_log(&args.output);
    show::block_on(async |signals| match Demo::start().await {
        Ok(demo) => {
            let plan = args.output.plan(demo.sources.clone());
            let watch = show::Watch {
                quiet: args.output.quiet,
                ends_after: args.output.duration,
                strict: false,
            };
            show::show(plan, watch, signals).await
        }
        Err(error) => {
            say(format_args!("error: cannot start the demo: {error}"));
            Exit::Output
        }
    })
}

/// The servers and the file; all of it is gone when it is dropped.
struct Demo {
    /// What reads all of it.
    sources: Vec<SourceConfig>,
    /// Ended before the file is removed, as fields are dropped in their order.
    _servers: JoinSet<()>,
    _app: AppLog,
}

impl Demo {
    async fn start() -> io::Result<Self> {
        let app = AppLog::create()?;
        let mut arguments = Vec::new();
        let mut servers = JoinSet::new();
        for (service, feed) in services() {
            let (listener, address) = listen().await?;
            arguments.push(format!("{}=http://{address}/logs", service.name));
            servers.spawn(http::serve(listener, service, feed));
        }
        for (name, feed) in sockets() {
            let (listener, address) = listen().await?;
            arguments.push(format!("{name}=ws://{address}/logs"));
            servers.spawn(websocket::serve(listener, feed));
        }
        arguments.push(format!("app={}", app.path().display()));
        servers.spawn(app.writer(Feed::new(7, 2.5, lines::app)));
        let options = ArgumentOptions {
            start: Start::Beginning,
            follow: Follow::Forever,
            network: NetworkOptions::default(),
            records: RecordRules::default(),
        };
        let sources = sources_from_arguments(&arguments, &options)
            .map_err(|errors| io::Error::other(errors[0].to_string()))?;
        Ok(Self {
            sources,
            _servers: servers,
            _app: app,
        })
    }
}

/// What the five HTTP services are, each with its lines a second.
fn services() -> [(Service, Feed); 5] {
    let lines = |name| Service {
        name,
        shape: Shape::Lines,
        content_type: "text/plain; charset=utf-8",
        cut_after: None,
    };
    let orders = Service {
        content_type: "application/x-ndjson",
        ..lines("orders")
    };
    let search = Service {
        shape: Shape::Events,
        content_type: "text/event-stream",
        ..lines("search")
    };
    let gateway = Service {
        cut_after: Some(Duration::from_secs(2)),
        ..lines("gateway")
    };
    [
        (orders, Feed::new(1, 12.0, lines::orders)),
        (lines("billing"), Feed::new(2, 0.7, lines::billing)),
        (lines("auth"), Feed::new(3, 4.0, lines::auth)),
        (search, Feed::new(4, 3.0, lines::search)),
        (gateway, Feed::new(5, 6.0, lines::gateway)),
    ]
}

/// What the two WebSocket servers send.
fn sockets() -> [(&'static str, Feed); 2] {
    [
        ("events", Feed::new(8, 5.0, lines::events)),
        ("metrics", Feed::new(9, 10.0, lines::metrics)),
    ]
}

async fn listen() -> io::Result<(TcpListener, std::net::SocketAddr)> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers every connection by `answer`, until it is dropped.
async fn accept<F>(listener: TcpListener, mut answer: impl FnMut(tokio::net::TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An `Err` is a connection that was given up before it was taken.
            accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                connections.spawn(answer(socket));
            },
            _ended = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}
