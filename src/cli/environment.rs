//! Flags from the environment: `LOGWEIR_NO_FOLLOW=1` is `--no-follow`, wherever the command line does
//! not say otherwise.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// The commands whose flags can all be given so: a person has habits in a terminal.
const COMMANDS: [&str; 2] = ["tail", "demo"];

/// Flags that are wanted once, not always.
const NEVER: [&str; 3] = ["config", "help", "print-config"];

/// Parses a command line with what the environment adds to it; `look` looks a variable up.
///
/// # Errors
/// As clap says it, and which variables had a part in it.
pub(super) fn matches(
    mut command: Command,
    args: &[OsString],
    look: impl Fn(&str) -> Option<OsString>,
) -> Result<ArgMatches, (clap::Error, Vec<String>)> {
    command.build();
    let alone = |error| (error, Vec::new());
    let given = command.clone().try_get_matches_from(args).map_err(alone)?;
    let Some((name, of_command)) = given.subcommand().filter(|it| COMMANDS.contains(&it.0)) else {
        return Ok(given);
    };
    let Some(definition) = command.find_subcommand(name) else {
        return Ok(given);
    };
    let (mut flags, mut variables) = (Vec::new(), Vec::new());
    for flag in definition.get_arguments() {
        let Some(variable) = variable(flag) else {
            continue;
        };
        let Some(value) = look(&variable).filter(|it| !it.is_empty()) else {
            continue;
        };
        if !is_settled(definition, flag, of_command) {
            flags.extend(as_flag(flag, &value));
            variables.push(variable);
        }
    }
    if flags.is_empty() {
        return Ok(given);
    }
    // Before it there are only flags without values.
    let at = args
        .iter()
        .position(|it| *it == *name)
        .map_or(1, |at| at + 1);
    let (before, after) = args.split_at(at);
    let args = before
        .iter()
        .cloned()
        .chain(flags)
        .chain(after.iter().cloned());
    command
        .try_get_matches_from(args)
        .map_err(|error| (error, variables))
}

/// The variable of a flag; `None` where it has none.
pub(super) fn variable(flag: &Arg) -> Option<String> {
    let long = flag.get_long().filter(|it| !NEVER.contains(it))?;
    Some(format!("LOGWEIR_{}", long.replace('-', "_").to_uppercase()))
}

/// True where the command line itself gives the flag, or one that excludes it.
fn is_settled(command: &Command, flag: &Arg, given: &ArgMatches) -> bool {
    let is_given =
        |it: &&Arg| given.value_source(it.get_id().as_str()) == Some(ValueSource::CommandLine);
    let excludes = |one: &Arg, other: &Arg| {
        let conflicts = command.get_arg_conflicts_with(one);
        conflicts.iter().any(|it| it.get_id() == other.get_id())
    };
    command
        .get_arguments()
        .filter(is_given)
        .any(|it| it.get_id() == flag.get_id() || excludes(it, flag) || excludes(flag, it))
}

/// The flag as it stands on a command line; `None` for one that is switched off.
fn as_flag(flag: &Arg, value: &OsStr) -> Option<OsString> {
    /// What switches a flag without a value off.
    const OFF: [&str; 4] = ["0", "false", "no", "off"];
    let mut text = OsString::from("--");
    text.push(flag.get_long()?);
    if flag.get_action().takes_values() {
        text.push("=");
        text.push(value);
        return Some(text);
    }
    let is_off = OFF.iter().any(|off| value.eq_ignore_ascii_case(off));
    (!is_off).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, variables: &[(&str, &str)]) -> Result<String, Vec<String>> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let look = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let matches = matches(super::super::command(), &args, look).map_err(|it| it.1)?;
        let (_, of_command) = matches.subcommand().expect("a command");
        let raw = |id: &str| {
            let values = of_command.get_raw(id).into_iter().flatten();
            values
                .map(|it| it.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(",")
        };
        Ok(format!(
            "{} {} {} {}",
            raw("output"),
            of_command.get_flag("raw"),
            raw("lines"),
            of_command.get_flag("no_follow")
        ))
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let all = [
            ("LOGWEIR_OUTPUT", "text"),
            ("LOGWEIR_LINES", "7"),
            ("LOGWEIR_NO_FOLLOW", "1"),
            ("LOGWEIR_CONFIG", "agent.toml"),
        ];

        let of = |line, variables: &[_]| parsed(line, variables).expect("a good command line");

        assert_eq!(of("logweir tail a", &[]), "auto false  false");
        assert_eq!(of("logweir tail a", &all), "text false 7 true");
        assert_eq!(of("logweir tail -o json -n 3 a", &all), "json false 3 true");
        // A flag that excludes the variable's wins, too.
        assert_eq!(of("logweir tail -r a", &all), "auto true 7 true");
        let off = [("LOGWEIR_NO_FOLLOW", "off"), ("LOGWEIR_LINES", "")];
        assert_eq!(of("logweir tail a", &off), "auto false  false");
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        let wrong = parsed("logweir tail a", &[("LOGWEIR_LINES", "some")]);

        assert_eq!(wrong, Err(vec!["LOGWEIR_LINES".to_owned()]));
    }
}
