//! Reads `[agent]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::AgentConfig;
use super::cx::{Cx, References};
use super::environment::Environment;
use super::suggest::nearest;
use super::value::Value;

/// Keys that are described and do not exist yet.
const LATER_KEYS: [&str; 2] = ["admin", "log_format"];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Where root's state lies where nobody says otherwise.
const ROOT_STATE: &str = "/var/lib/logweir";

/// What `[agent]` says; `None`: the default.
#[derive(Default)]
pub(super) struct AgentEntry {
    state: Option<PathBuf>,
    memory: Option<u64>,
    order: Option<Duration>,
    shutdown: Option<Duration>,
    log: Option<String>,
}

impl AgentEntry {
    /// Fills in the defaults; `None` if no default for `state` can be found.
    pub(super) fn or_defaults(
        self,
        environment: &dyn Environment,
        references: References,
    ) -> Option<AgentConfig> {
        let state = match (self.state, references) {
            (Some(state), _) => state,
            (None, References::Resolve) => default_state(environment)?,
            (None, References::Placeholders) => PathBuf::from(ROOT_STATE),
        };
        let memory_bytes = self.memory.unwrap_or(8 << 20);
        Some(AgentConfig {
            state,
            memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            order: self.order,
            shutdown: self.shutdown.unwrap_or(Duration::from_secs(20)),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

/// Reads the table; findings are reported.
pub(super) fn read(value: &Value, cx: &mut Cx) -> AgentEntry {
    let Some(mut table) = value.table(cx) else {
        return AgentEntry::default();
    };
    table.set_kind("[agent]");
    let entry = AgentEntry {
        state: table.take("state").and_then(|value| state(&value, cx)),
        // Less than a read's worth would let no chunk through at full size.
        memory: table
            .take("memory")
            .and_then(|value| value.size(64 << 10..=16 << 30, cx)),
        order: table.take("order").and_then(|it| order(&it, cx)),
        shutdown: table
            .take("shutdown")
            .and_then(|it| it.duration(Duration::ZERO..=Duration::from_secs(3_600), cx)),
        log: table.take("log").and_then(|value| log(&value, cx)),
    };
    table.later(&LATER_KEYS, cx);
    table.finish(cx);
    entry
}

fn state(value: &Value, cx: &mut Cx) -> Option<PathBuf> {
    Some(PathBuf::from(value.filled_text(cx)?.value))
}

/// `off`, or how long a line waits.
fn order(value: &Value, cx: &mut Cx) -> Option<Duration> {
    if value.raw_text() == Some("off") {
        return None;
    }
    // Longer: every line of a quiet stream would wait so long.
    value.duration(Duration::from_millis(1)..=Duration::from_secs(60), cx)
}

/// A level, or directives as `tracing` knows them.
fn log(value: &Value, cx: &mut Cx) -> Option<String> {
    let text = value.known_text(cx)?;
    // A lone word that is no level would be taken for the name of a module.
    let lone = !text.value.contains(['=', ',', '[']);
    if lone && !LEVELS.contains(&text.value.to_ascii_lowercase().as_str()) {
        let near = nearest(&text.value, LEVELS);
        let found = value.fail(
            cx,
            "must be a level or a list such as \"info,logweir::sink=debug\"",
        );
        found.label(near.map_or_else(
            || format!("levels: {}", LEVELS.join(", ")),
            |near| format!("did you mean `{near}`?"),
        ));
        return None;
    }
    if EnvFilter::builder().parse(&text.value).is_err() {
        value.fail(
            cx,
            "must be a level or a list such as \"info,logweir::sink=debug\"",
        );
        return None;
    }
    Some(text.value)
}

/// `$STATE_DIRECTORY` (systemd), else root's place, else the user's. `None`: there is no home.
pub(super) fn default_state(environment: &dyn Environment) -> Option<PathBuf> {
    let var = |name| environment.var(name).ok().filter(|value| !value.is_empty());
    if let Some(folders) = var("STATE_DIRECTORY") {
        // systemd lists several with colons; the first is as good as any.
        return folders.split(':').next().map(PathBuf::from);
    }
    if environment.is_root() {
        return Some(PathBuf::from(ROOT_STATE));
    }
    // The XDG specification: a relative path is invalid and ignored.
    let folder = var("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(Path::new(&var("HOME")?).join(".local/state")))?;
    Some(folder.join("logweir"))
}

#[cfg(test)]
mod tests {
    use std::env::VarError;
    use std::io;

    use super::super::environment::ReferencedFile;
    use super::*;

    type Vars = &'static [(&'static str, &'static str)];

    struct Scripted {
        vars: Vars,
        root: bool,
    }

    impl Environment for Scripted {
        fn var(&self, name: &str) -> Result<String, VarError> {
            let found = self.vars.iter().find(|(it, _)| *it == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        }

        fn file(&self, _: &Path) -> io::Result<ReferencedFile> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn is_root(&self) -> bool {
            self.root
        }

        fn tls(&self, _: &crate::http::Tls) -> Result<(), crate::http::ClientError> {
            Ok(())
        }
    }

    #[test]
    fn state_lies_where_the_service_manager_root_or_the_user_keeps_it() {
        let cases: [(Vars, bool, Option<&str>); 6] = [
            (
                &[("STATE_DIRECTORY", "/var/lib/x"), ("HOME", "/home/a")],
                true,
                Some("/var/lib/x"),
            ),
            (&[("STATE_DIRECTORY", "/a:/b")], false, Some("/a")),
            (&[("HOME", "/root")], true, Some("/var/lib/logweir")),
            (
                &[("XDG_STATE_HOME", "/s"), ("HOME", "/home/a")],
                false,
                Some("/s/logweir"),
            ),
            (
                &[("XDG_STATE_HOME", "rel"), ("HOME", "/home/a")],
                false,
                Some("/home/a/.local/state/logweir"),
            ),
            (&[], false, None),
        ];
        for (vars, root, state) in cases {
            let found = default_state(&Scripted { vars, root });

            assert_eq!(found.as_deref(), state.map(Path::new), "{vars:?}");
        }
    }
}
