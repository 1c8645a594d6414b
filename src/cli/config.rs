//! `logweir config`: the configuration as logweir understands it.

use clap::Args;

use super::{ConfigArgs, Exit, print, say, stderr_color};
use crate::config::{
    Blame, ConfigInput, LoadOptions, ProcessEnvironment, References, defaults, effective, keys,
};

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Say beside each value where it is from
    #[arg(long, conflicts_with_all = ["defaults", "schema"])]
    blame: bool,
    /// Every key with its default, whatever the configuration says
    #[arg(long, conflicts_with = "schema")]
    defaults: bool,
    /// The JSON Schema, by which editors complete agent.toml
    #[arg(long)]
    schema: bool,
    /// Do not look up ${env:…}, ${file:…} and ${cred:…}
    #[arg(long)]
    no_env: bool,
}

const EXAMPLES: &str = "Examples:
  logweir config                      what is in force, defaults included
  logweir config --blame              and which file says so
  logweir config --schema > agent.schema.json
";

/// Prints what was asked for.
pub(super) fn config(args: &ShowArgs) -> Exit {
    if args.schema {
        return print(&keys::schema());
    }
    if args.defaults {
        return print(&defaults());
    }
    let options = LoadOptions {
        references: if args.no_env {
            References::Placeholders
        } else {
            References::Resolve
        },
        environment: &ProcessEnvironment,
    };
    let blame = if args.blame {
        Blame::Everyone
    } else {
        Blame::Nobody
    };
    let input = ConfigInput::from_argument(args.config.path.as_deref());
    match effective(&[input], options, blame) {
        Ok((text, warnings)) => {
            if !warnings.is_empty() {
                say(format_args!(
                    "{}",
                    warnings.render(stderr_color()).trim_end()
                ));
            }
            print(&text)
        }
        Err(found) => {
            say(format_args!("{}", found.render(stderr_color()).trim_end()));
            Exit::Config
        }
    }
}
