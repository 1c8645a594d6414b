//! `logweir man`: the manual pages, from the definitions of the command line and of the
//! configuration.

use clap::{Arg, Args, Command};

use super::Exit;

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Which page: logweir or agent.toml
    #[arg(default_value = "logweir", value_name = "PAGE", value_parser = ["logweir", "agent.toml"])]
    #[arg(hide_possible_values = true)]
    page: String,
}

const EXAMPLES: &str = "Examples:
  logweir man | man -l -
  logweir man agent.toml > /usr/local/share/man/man5/agent.toml.5
";

/// Exit codes, as the page lists them.
const EXITS: [(&str, &str); 9] = [
    ("0", "It went well, or whoever read the output has gone."),
    ("1", "With --strict: a source failed for good."),
    ("64", "The command line makes no sense."),
    ("69", "No source could be read at the first attempt."),
    ("74", "The output could not be written."),
    (
        "77",
        "Every source was refused: by a token or by permissions.",
    ),
    ("78", "The configuration cannot be used."),
    ("130", "Ended by Ctrl-C."),
    ("143", "tail was ended by SIGTERM."),
];

/// Prints the page.
pub(super) fn man(args: &ManArgs) -> Exit {
    let page = if args.page == "agent.toml" {
        crate::config::keys::manual()
    } else {
        logweir(super::command())
    };
    super::print(&page)
}

fn logweir(mut command: Command) -> String {
    use crate::config::keys::Page;
    command.build();
    let mut page = Page::new("LOGWEIR", "1", env!("CARGO_PKG_VERSION"));
    page.section("Name");
    page.text("logweir - merges logs from many places and never loses a line");
    page.section("Synopsis");
    for sub in subcommands(&command) {
        let usage = sub.clone().render_usage().to_string();
        page.line(usage.trim_start_matches("Usage: "));
    }
    page.section("Description");
    page.text(
        "logweir reads logs where they are written and delivers them where they are wanted. \
         `logweir tail` merges files, HTTP streams and WebSockets at a terminal; `logweir run` ships \
         them as a service, as agent.toml(5) says.",
    );
    for sub in subcommands(&command) {
        page.section(&format!("logweir {}", sub.get_name()));
        if let Some(about) = sub.get_about() {
            page.text(&format!("{about}."));
        }
        let arguments = sub.get_arguments().filter(|it| !it.is_hide_set());
        for argument in arguments.filter(|it| it.get_id() != "help") {
            option(&mut page, argument);
        }
        if let Some(examples) = sub.get_before_help() {
            let examples = examples.to_string();
            page.verbatim(examples.trim_start_matches("Examples:\n"));
        }
    }
    page.section("Exit status");
    for (code, meaning) in EXITS {
        page.item(code, meaning);
    }
    page.section("Environment");
    page.item(
        "NO_COLOR, CLICOLOR_FORCE",
        "No colours; colours also in a pipe. --color wins.",
    );
    page.item(
        "LOGWEIR_…",
        "Defaults of flags, where the flag names one. A flag wins over the environment, that over \
         the configuration.",
    );
    page.section("Files");
    page.item(
        "/etc/logweir/agent.toml, /etc/logweir/conf.d/*.toml",
        "The configuration.",
    );
    page.section("See also");
    page.text("agent.toml(5), journalctl(1), tail(1), jq(1)");
    page.finish()
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|it| it.get_name() != "help")
}

fn option(page: &mut crate::config::keys::Page, argument: &Arg) {
    let names: Vec<String> = [
        argument.get_short().map(|it| format!("-{it}")),
        argument.get_long().map(|it| format!("--{it}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let takes_value = argument.get_action().takes_values();
    let values: Vec<&str> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|it| it.as_str())
        .filter(|_| takes_value)
        .collect();
    let head = [names.join(", "), values.join(" ")].join(" ");
    let mut text = argument
        .get_long_help()
        .or_else(|| argument.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    if !text.ends_with(['.', ']']) && !text.contains("\n\n") {
        text.push('.');
    }
    if let Some(variable) = argument.get_env() {
        text.push_str(&format!(" Environment: {}.", variable.to_string_lossy()));
    }
    page.item(head.trim(), &text);
}
