//! `logweir completions`: what shells complete, from the definitions of the command line.

use clap::{Args, ValueEnum};
use clap_complete::Shell as Generator;

use super::Exit;

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// For which shell: bash, zsh or fish
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

const EXAMPLES: &str = "Examples:
  logweir completions bash > /etc/bash_completion.d/logweir
  logweir completions zsh  > \"${fpath[1]}/_logweir\"
  logweir completions fish > ~/.config/fish/completions/logweir.fish
";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub(super) fn completions(args: &CompletionsArgs) -> Exit {
    let generator = match args.shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut super::command(), "logweir", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
