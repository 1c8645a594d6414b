//! What `tail` and `demo` print and when they end: their common flags, and stdout as a sink.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ColorChoice, host};
use crate::agent::{FirstAttempts, Inputs, Plan};
use crate::encoding::{Format, Meta, Template, Text};
use crate::model::BatchLimits;
use crate::notes::Notes;
use crate::sink::file::Reopen;
use crate::sink::{SinkConfig, SinkKind};
use crate::source::file::Label;
use crate::source::{SourceConfig, SourceKind};
use crate::telemetry::Metrics;

/// Bytes in flight, and bytes written at once.
const MEMORY_BYTES: usize = 8 << 20;
const BATCH_BYTES: usize = 1 << 20;

/// How long the end may take: whoever pressed Ctrl-C waits.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// How long lines wait for each other where several sources are merged.
const ORDER: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(next_help_heading = "What is printed, and for how long")]
pub(super) struct OutputArgs {
    /// What a line looks like: auto (text on a terminal or with --color always, else json), text, raw or json
    #[arg(
        short,
        long,
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    output: OutputChoice,
    /// The original bytes, as `-o raw`
    #[arg(short, long, conflicts_with_all = ["output", "template"])]
    raw: bool,
    /// A form of your own, for example '{source} {time} {msg}'
    ///
    /// There are {source} {time} {time:%H:%M:%S} {msg} {level} {host} {file} {offset} {label.NAME};
    /// {{ and }} are braces, \\t and \\n what they are in C.
    #[arg(short = 'T', long, value_name = "TEMPLATE", value_parser = Template::parse)]
    #[arg(conflicts_with = "output")]
    template: Option<Template>,
    /// Merge by time: lines wait so long for earlier ones; or `off` [default: 200ms, off with one source]
    ///
    /// What counts is the time that a line carries itself, or when it was read. Files that end are
    /// merged strictly, whatever the window.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_order)]
    order: Option<OrderChoice>,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub limit: Option<u64>,
    /// End after so long, for example 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// When to use colours: auto, always or never
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    #[arg(hide_possible_values = true)]
    color: ColorChoice,
    /// Write each line by itself
    #[arg(long)]
    line_buffered: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderChoice {
    Off,
    Within(Duration),
}

fn parse_order(text: &str) -> Result<OrderChoice, String> {
    if text == "off" {
        return Ok(OrderChoice::Off);
    }
    let window = parse_duration(text)?;
    if window > Duration::from_secs(60) {
        return Err("must be at most 60s: so long every line would wait".to_owned());
    }
    Ok(OrderChoice::Within(window))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputChoice {
    Auto,
    Text,
    Raw,
    Json,
}

fn parse_count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "must be a number of lines, for example 100".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).map_err(|error| format!("{} ({})", error.why, error.hint))
}

impl OutputArgs {
    /// The form that was asked for.
    pub(super) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// What a configuration calls what was asked for; `None`: as standard output suggests.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self.output {
            _ if self.raw => Some("raw"),
            OutputChoice::Raw => Some("raw"),
            OutputChoice::Text => Some("text"),
            OutputChoice::Json => Some("json"),
            OutputChoice::Auto => None,
        }
    }

    /// Merges `sources` to standard output, remembering nothing.
    pub(super) fn plan(&self, sources: Vec<SourceConfig>) -> Plan {
        let stdout = self.sink(&sources);
        let n_sources = sources.len();
        Plan {
            sources,
            sinks: vec![stdout],
            state: None,
            shutdown: SHUTDOWN,
            cursor_file: None,
            limit: self.limit,
            host: host(),
            first_attempts: FirstAttempts::MustSucceed,
            inputs: Inputs::Live,
            order: self.order(n_sources),
            notes: if self.quiet {
                Notes::silent()
            } else {
                Notes::terminal()
            },
            reopen: Reopen::default(),
            metrics: Metrics::default(),
        }
    }

    /// How long lines wait for each other; `None`: they do not.
    pub(super) fn order(&self, n_sources: usize) -> Option<Duration> {
        match self.order {
            Some(OrderChoice::Off) => None,
            Some(OrderChoice::Within(window)) => Some(window),
            None => (n_sources > 1).then_some(ORDER),
        }
    }

    /// Whether lines are never merged by time.
    pub(super) fn is_unordered(&self) -> bool {
        self.order == Some(OrderChoice::Off)
    }

    fn sink(&self, sources: &[SourceConfig]) -> SinkConfig {
        SinkConfig {
            name: "stdout".into(),
            from: sources
                .iter()
                .map(|source| Arc::clone(&source.name))
                .collect(),
            format: Some(self.format(sources)),
            line_bytes_max: None,
            batch: BatchLimits {
                bytes: BATCH_BYTES,
                lines: if self.line_buffered { 1 } else { u64::MAX },
                linger: Duration::ZERO,
            },
            memory_bytes: MEMORY_BYTES,
            kind: SinkKind::Stdout,
        }
    }

    fn format(&self, sources: &[SourceConfig]) -> Format {
        let color = colored(self.color);
        // Only text has colours: whoever wants them in a pipe wants text there.
        let is_for_eyes = std::io::stdout().is_terminal() || self.color == ColorChoice::Always;
        match self.output {
            _ if self.raw => Format::Raw,
            _ if self.template.is_some() => {
                self.template.clone().map_or(Format::Raw, Format::Template)
            }
            OutputChoice::Raw => Format::Raw,
            OutputChoice::Auto if !is_for_eyes => Format::json(Meta::default()),
            OutputChoice::Json => Format::json(Meta::default()),
            OutputChoice::Text | OutputChoice::Auto => Format::Text(Text {
                color,
                labels: sources.iter().filter_map(label).collect(),
            }),
        }
    }
}

/// The label of a source's lines, where it is known before they come.
fn label(source: &SourceConfig) -> Option<Arc<str>> {
    match &source.kind {
        SourceKind::File(files) if files.label == Label::FileStem => None,
        _ => Some(Arc::clone(&source.name)),
    }
}

/// Whether stdout is coloured: the flag wins over `NO_COLOR` and `CLICOLOR_FORCE`.
fn colored(choice: ColorChoice) -> bool {
    match choice {
        // `2>file` beside `| less -R` wants no colours.
        ColorChoice::Always => true,
        // What is said on stderr keeps to it, too.
        ColorChoice::Never => {
            anstream::ColorChoice::Never.write_global();
            false
        }
        ColorChoice::Auto => {
            anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
        }
    }
}
