//! `logweir check`: is this configuration good?

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::Exit;
use super::connect::reach;
use crate::config::{
    Color, Config, ConfigInput, Environment, LoadOptions, ProcessEnvironment, References, load,
};

/// The exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
pub(super) const EXIT_CONFIG: u8 = 78;

/// What `check` was asked.
#[derive(Clone, Debug)]
pub(super) struct CheckOptions {
    /// The file; `-` is stdin, `None` the default place.
    pub config: Option<PathBuf>,
    /// Whether `${…}` is looked up; `--no-env` does not.
    pub references: References,
    /// What warnings do; `--deny-warnings` refuses.
    pub warnings: Warnings,
    /// Whether the findings are coloured.
    pub color: Color,
    /// What is reached; `--connect` reaches everything.
    pub connect: Connect,
}

/// What is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect {
    /// Nothing: only the configuration is looked at.
    Nothing,
    /// Every source and every sink.
    Everything,
}

/// What warnings do to the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warnings {
    /// They are shown.
    Allow,
    /// They are shown and fail the check.
    Deny,
}

/// Prints every error and warning to stderr, or what was found to be good.
pub(super) fn check(options: &CheckOptions) -> ExitCode {
    let stderr = &mut crate::terminal::Stderr;
    // If stderr is closed, the exit code is all that can still be said.
    ExitCode::from(report(options, &ProcessEnvironment, stderr).unwrap_or(EXIT_CONFIG))
}

fn report(
    options: &CheckOptions,
    environment: &dyn Environment,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let input = ConfigInput::from_argument(options.config.as_deref());
    let load_options = LoadOptions {
        references: options.references,
        environment,
    };
    match load(&[input], load_options) {
        Err(found) => {
            write!(out, "{}", found.render(options.color))?;
            Ok(EXIT_CONFIG)
        }
        Ok((config, warnings)) => {
            write!(out, "{}", warnings.render(options.color))?;
            if options.warnings == Warnings::Deny && !warnings.is_empty() {
                writeln!(out, "warnings are denied")?;
                return Ok(EXIT_CONFIG);
            }
            if options.connect == Connect::Everything {
                let n_bad = connect(&config, out)?;
                if n_bad > 0 {
                    writeln!(out, "{n_bad} cannot be used")?;
                    return Ok(Exit::Unavailable as u8);
                }
            }
            writeln!(out, "{}", summary(&config))?;
            Ok(0)
        }
    }
}

/// Reaches everything; returns how many cannot be.
fn connect(config: &Config, out: &mut dyn Write) -> io::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(reach(config));
    // A look-up of a name that hangs must not keep the process.
    runtime.shutdown_background();
    for finding in &findings {
        match finding {
            Ok(line) => writeln!(out, "ok: {line}")?,
            Err(line) => writeln!(out, "bad: {line}")?,
        }
    }
    Ok(findings.iter().filter(|it| it.is_err()).count())
}

fn summary(config: &Config) -> String {
    let count = |n: usize, noun| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    format!(
        "ok: {}, {}",
        count(config.sources.len(), "source"),
        count(config.sinks.len(), "sink")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, warnings: Warnings) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        let options = CheckOptions {
            config: Some(path.clone()),
            references: References::Placeholders,
            warnings,
            color: Color::Never,
            connect: Connect::Nothing,
        };
        let mut out = Vec::new();
        let code = report(&options, &ProcessEnvironment, &mut out).unwrap();
        (
            code,
            String::from_utf8(out)
                .unwrap()
                .replace(path.to_str().unwrap(), "agent.toml"),
        )
    }

    #[test]
    fn a_good_configuration_is_counted() {
        let text = "[source]\na = \"a\"\nb = \"b\"\n[sink]\nout = \"stdout\"\n";

        assert_eq!(
            run(text, Warnings::Deny),
            (0, "ok: 2 sources, 1 sink\n".to_owned())
        );
    }

    #[test]
    fn a_bad_configuration_exits_78() {
        let (code, out) = run("[sourc]\n", Warnings::Allow);

        assert_eq!(code, 78);
        assert!(out.contains("unknown key `sourc`"), "{out}");
    }

    #[test]
    fn warnings_fail_only_when_denied() {
        let text = "[source]\na = \"a\"\n[sink]\nout = \"stdout\"\n[sink.b]\npath=\"b\"\nfrom=[]\n";

        let (allowed, out) = run(text, Warnings::Allow);
        let (denied, refused) = run(text, Warnings::Deny);

        assert_eq!((allowed, denied), (0, 78));
        assert!(out.ends_with("ok: 1 source, 2 sinks\n"), "{out}");
        assert!(refused.ends_with("warnings are denied\n"), "{refused}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let options = CheckOptions {
            config: Some(PathBuf::from("/nowhere/agent.toml")),
            references: References::Resolve,
            warnings: Warnings::Allow,
            color: Color::Never,
            connect: Connect::Nothing,
        };
        let mut out = Vec::new();

        let code = report(&options, &ProcessEnvironment, &mut out).unwrap();

        assert_eq!(code, 78);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(
            out,
            "error: cannot read the configuration `/nowhere/agent.toml`: \
             No such file or directory (os error 2)\n"
        );
    }
}
