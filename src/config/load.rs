//! From inputs to a validated [`Config`].

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Config;
use super::agent::AgentEntry;
use super::cx::{Cx, References};
use super::diagnostics::{Diagnostics, Place};
use super::document::{self, Entries};
use super::environment::Environment;
use super::routes;

/// No configuration is longer: a log file given by mistake is not read into memory.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigInput {
    /// `agent.toml` of a folder, then `conf.d/*.toml` in the order of their names; either may be
    /// missing, but not both.
    Folder(PathBuf),
    /// One file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A text and the name it is shown by.
    Text {
        /// What stands before the line number in messages.
        name: String,
        /// The TOML.
        text: String,
    },
}

impl ConfigInput {
    /// What `-c` names; without it, `/etc/logweir`.
    pub fn from_argument(path: Option<&Path>) -> Self {
        match path {
            None => Self::Folder(PathBuf::from("/etc/logweir")),
            Some(path) if path == Path::new("-") => Self::Stdin,
            Some(path) => Self::File(path.to_path_buf()),
        }
    }
}

/// How references are looked up.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// Whether they are looked up at all.
    pub references: References,
    /// Where.
    pub environment: &'a dyn Environment,
}

/// Reads, merges and validates; every error is found, not only the first. The second value holds
/// the warnings.
///
/// # Errors
/// All errors, and the warnings among them, in the order of the files.
pub fn load(
    inputs: &[ConfigInput],
    options: LoadOptions,
) -> Result<(Config, Diagnostics), Diagnostics> {
    let mut found = Diagnostics::default();
    let texts = files(inputs, &mut found);
    load_files(&texts, options, found)
}

/// Names and texts of all files; what cannot be read is reported.
pub(super) fn files(inputs: &[ConfigInput], found: &mut Diagnostics) -> Vec<(String, String)> {
    inputs.iter().flat_map(|input| read(input, found)).collect()
}

/// Merges and validates files that were read, with what was found by then.
pub(super) fn load_files(
    files: &[(String, String)],
    options: LoadOptions,
    mut found: Diagnostics,
) -> Result<(Config, Diagnostics), Diagnostics> {
    let mut entries = Entries {
        incomplete: found.has_errors(),
        ..Entries::default()
    };
    for (name, text) in files {
        let file = found.add_file(name, text);
        let mut cx = Cx {
            file,
            text,
            diagnostics: &mut found,
            environment: options.environment,
            references: options.references,
        };
        document::read(&mut entries, &mut cx);
    }
    let config = assemble(entries, options, &mut found);
    found.sort();
    match config {
        Some(config) if !found.has_errors() => Ok((config, found)),
        _ => Err(found),
    }
}

fn assemble(mut entries: Entries, options: LoadOptions, found: &mut Diagnostics) -> Option<Config> {
    let agent = entries
        .agent
        .take()
        .map_or_else(AgentEntry::default, |(agent, _)| agent);
    let Some(agent) = agent.or_defaults(options.environment, options.references) else {
        found
            .error(
                None,
                "there is no default place for the state: $HOME is not set",
            )
            .note("set it in the file: [agent] state = \"/path\"");
        return None;
    };
    if entries.incomplete {
        return None;
    }
    let only_file = found.only_file().map(Place::whole);
    if entries.sources.is_empty() {
        found
            .error(only_file.clone(), "there is no source")
            .note("for example: [source] app = \"/var/log/app/*.log\"");
    }
    if entries.sinks.is_empty() {
        found
            .error(only_file, "there is no sink")
            .note("for example: [sink] out = \"stdout\"");
    }
    routes::connect(&mut entries, agent.memory_bytes, found);
    Some(Config {
        agent,
        sources: entries
            .sources
            .into_iter()
            .filter_map(|source| source.config)
            .collect(),
        sinks: entries
            .sinks
            .into_iter()
            .filter_map(|sink| sink.config)
            .collect(),
    })
}

/// Names and texts of an input's files; what cannot be read is reported.
fn read(input: &ConfigInput, found: &mut Diagnostics) -> Vec<(String, String)> {
    match input {
        ConfigInput::Text { name, text } => vec![(name.clone(), text.clone())],
        ConfigInput::Stdin => one("<stdin>", io::stdin().lock(), found)
            .into_iter()
            .collect(),
        ConfigInput::File(path) => file(path, found).into_iter().collect(),
        ConfigInput::Folder(folder) => folder_files(folder, found),
    }
}

fn folder_files(folder: &Path, found: &mut Diagnostics) -> Vec<(String, String)> {
    let main = folder.join("agent.toml");
    let parts = folder.join("conf.d");
    let mut paths = match toml_files(&parts) {
        Ok(paths) => paths,
        Err(error) => {
            found.error(None, format!("cannot list `{}`: {error}", parts.display()));
            return Vec::new();
        }
    };
    // What cannot be looked at is opened, so that the reason is told.
    if main.try_exists().unwrap_or(true) {
        paths.insert(0, main);
    } else if paths.is_empty() {
        found
            .error(
                None,
                format!("there is no configuration: `{}` is missing", main.display()),
            )
            .note("`-c FILE` names another one");
    }
    paths.iter().filter_map(|path| file(path, found)).collect()
}

/// The `*.toml` of a folder by name, dotfiles excepted; none if there is no such folder.
fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|it| it == "toml") && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file(path: &Path, found: &mut Diagnostics) -> Option<(String, String)> {
    let name = path.display().to_string();
    match std::fs::File::open(path) {
        Ok(file) => one(&name, file, found),
        Err(error) => {
            found.error(
                None,
                format!("cannot read the configuration `{name}`: {error}"),
            );
            None
        }
    }
}

fn one(name: &str, input: impl Read, found: &mut Diagnostics) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let read = input.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let trouble = match (read, String::from_utf8(bytes)) {
        (Err(error), _) => error.to_string(),
        (Ok(length), _) if length as u64 > FILE_BYTES_MAX => "it is longer than 4 MiB".to_owned(),
        (Ok(_), Err(error)) => {
            format!(
                "it is not UTF-8 from byte {} on",
                error.utf8_error().valid_up_to()
            )
        }
        (Ok(_), Ok(text)) => return Some((name.to_owned(), text)),
    };
    found.error(
        None,
        format!("cannot read the configuration `{name}`: {trouble}"),
    );
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::ProcessEnvironment;
    use super::super::diagnostics::Color;
    use super::*;

    fn load_folder(folder: &Path) -> Result<Vec<String>, String> {
        let options = LoadOptions {
            references: References::Placeholders,
            environment: &ProcessEnvironment,
        };
        match load(&[ConfigInput::Folder(folder.to_path_buf())], options) {
            Ok((config, _)) => Ok(config
                .sources
                .iter()
                .map(|source| source.name.to_string())
                .collect()),
            Err(found) => {
                let folder = format!("{}/", folder.display());
                Err(found.render(Color::Never).replace(&folder, ""))
            }
        }
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("conf.d");
        fs::create_dir(&parts).unwrap();
        fs::write(
            folder.path().join("agent.toml"),
            "[sink]\nout = \"stdout\"\n",
        )
        .unwrap();
        fs::write(parts.join("20-b.toml"), "[source]\nb = \"b\"\n").unwrap();
        fs::write(parts.join("10-a.toml"), "[source]\na = \"a\"\n").unwrap();
        fs::write(parts.join("notes.txt"), "no TOML").unwrap();
        fs::write(parts.join(".hidden.toml"), "no TOML").unwrap();

        assert_eq!(
            load_folder(folder.path()),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn the_parts_suffice() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("conf.d");
        fs::create_dir(&parts).unwrap();
        let text = "\u{feff}[source]\na = \"a\"\n[sink]\nout = \"stdout\"\n";
        fs::write(parts.join("a.toml"), text).unwrap();

        assert_eq!(load_folder(folder.path()), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn an_empty_folder_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();

        let errors = load_folder(folder.path()).unwrap_err();

        assert_eq!(
            errors,
            "error: there is no configuration: `agent.toml` is missing\n  = note: `-c FILE` names \
             another one\n"
        );
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cases: [(&[u8], &str); 2] = [
            (b"[source]\xff", "it is not UTF-8 from byte 8 on"),
            (&vec![b'#'; (4 << 20) + 1], "it is longer than 4 MiB"),
        ];
        for (bytes, reason) in cases {
            fs::write(folder.path().join("agent.toml"), bytes).unwrap();

            let errors = load_folder(folder.path()).unwrap_err();

            let expected = format!("error: cannot read the configuration `agent.toml`: {reason}\n");
            assert_eq!(errors, expected);
        }
    }
}
