//! What `tail` and `demo` print and when they end: their common flags, and stdout as a sink.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ColorChoice, host};
use crate::agent::{FirstAttempts, Plan, Turns};
use crate::encoding::{Format, Meta, Text};
use crate::model::BatchLimits;
use crate::notes::Notes;
use crate::sink::file::Reopen;
use crate::sink::{SinkConfig, SinkKind};
use crate::source::file::Label;
use crate::source::{SourceConfig, SourceKind};

/// Bytes in flight, and bytes written at once.
const MEMORY_BYTES: usize = 8 << 20;
const BATCH_BYTES: usize = 1 << 20;

/// How long the end may take: whoever pressed Ctrl-C waits.
const SHUTDOWN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// What a line looks like; `auto` is text on a terminal, else json
    #[arg(
        short,
        long,
        value_enum,
        default_value = "auto",
        env = "LOGWEIR_OUTPUT"
    )]
    output: OutputChoice,
    /// The original bytes, as `-o raw`
    #[arg(short, long, conflicts_with = "output")]
    raw: bool,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// End after so long, for example 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// When to use colours
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    color: ColorChoice,
    /// Say nothing on stderr but errors
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputChoice {
    Auto,
    Text,
    Raw,
    Json,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).map_err(|error| format!("{} ({})", error.why, error.hint))
}

impl OutputArgs {
    /// Merges `sources` to standard output, remembering nothing.
    pub(super) fn plan(&self, sources: Vec<SourceConfig>) -> Plan {
        let stdout = self.sink(&sources);
        Plan {
            sources,
            sinks: vec![stdout],
            state: None,
            shutdown: SHUTDOWN,
            limit: self.limit,
            host: host(),
            first_attempts: FirstAttempts::MustSucceed,
            turns: Turns::Together,
            notes: if self.quiet {
                Notes::silent()
            } else {
                Notes::terminal()
            },
            reopen: Reopen::default(),
        }
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
                lines: u64::MAX,
                linger: Duration::ZERO,
            },
            memory_bytes: MEMORY_BYTES,
            kind: SinkKind::Stdout,
        }
    }

    fn format(&self, sources: &[SourceConfig]) -> Format {
        let terminal = std::io::stdout().is_terminal();
        let color = colored(self.color);
        match self.output {
            _ if self.raw => Format::Raw,
            OutputChoice::Raw => Format::Raw,
            OutputChoice::Auto if !terminal => Format::json(Meta::default()),
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
