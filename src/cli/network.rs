//! Flags for sources over the network: who asks, and whom to trust.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::header::{HeaderName, HeaderValue};

use crate::config::{HeaderOption, NetrcEntry, NetworkOptions};
use crate::http::{ClientError, Tls, Verify};
use crate::secret::Secret;

#[derive(Debug, Args)]
#[command(next_help_heading = "Over the network")]
pub(super) struct NetworkArgs {
    /// A header for sources over the network (repeat); @FILE: one a line; NAME='K: V': for one source
    #[arg(short = 'H', long = "header", value_name = "K: V")]
    headers: Vec<String>,
    /// A bearer token for sources over the network; @FILE keeps it off the command line
    #[arg(long, value_name = "TOKEN|@FILE")]
    bearer: Option<String>,
    /// Certificates (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// User and password from ~/.netrc (or what NETRC names), by host
    #[arg(long)]
    pub netrc: bool,
    /// Look at nobody's certificate: whoever is in between can read and change everything
    #[arg(short = 'k', long)]
    insecure: bool,
}

/// Stands for `--bearer`.
const BEARER_VARIABLE: &str = "LOGWEIR_BEARER";

impl NetworkArgs {
    /// The flags that were given.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("-H", !self.headers.is_empty()),
            ("--bearer", self.bearer.is_some()),
            ("--cacert", self.cacert.is_some()),
            ("--netrc", self.netrc),
            ("-k", self.insecure),
        ];
        let given = flags.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag).collect()
    }

    /// The file that holds the bearer token, from the root.
    pub(super) fn bearer_file(&self) -> Option<String> {
        let path = self.bearer.as_deref()?.strip_prefix('@')?;
        let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        Some(path.display().to_string())
    }
}

/// What every user of the machine can see of the command line, and how it is hidden.
pub(super) fn advice(args: &NetworkArgs, sources: &[String]) -> Vec<String> {
    /// How the names of headers end that hold secrets.
    const SECRET: [&str; 6] = [
        "authorization",
        "cookie",
        "token",
        "key",
        "secret",
        "password",
    ];
    let seen = "every user of this machine can see it in `ps`";
    // What comes from the environment nobody else sees.
    let is_on_line =
        |variable: &str, text: &str| !text.starts_with('@') && !is_from(variable, text);
    let mut advice = Vec::new();
    if args
        .bearer
        .as_deref()
        .is_some_and(|it| is_on_line(BEARER_VARIABLE, it))
    {
        advice.push(format!("! --bearer: {seen}; --bearer @FILE hides it"));
    }
    let headers = args.headers.iter();
    for header in headers.filter(|it| is_on_line("LOGWEIR_HEADER", it)) {
        let name = header.split(':').next().unwrap_or_default().trim();
        if SECRET
            .iter()
            .any(|end| name.to_ascii_lowercase().ends_with(end))
        {
            advice.push(format!("! -H {name}: {seen}; -H @FILE hides it"));
        }
    }
    for source in sources {
        let url = source.split_once("://").map_or("", |(_, rest)| rest);
        let authority = url.split('/').next().unwrap_or_default();
        if authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
        {
            let shown = crate::secret::shown_url(source);
            advice.push(format!(
                "! the password of {shown}: {seen}; --netrc hides it"
            ));
        }
    }
    advice
}

/// True where a flag's value came from a variable.
fn is_from(variable: &str, value: &str) -> bool {
    std::env::var(variable).as_deref() == Ok(value)
}

/// Reads the flags and the files that they name.
///
/// # Errors
/// One message for each flag that cannot be used. None shows a value.
pub(super) fn options(args: &NetworkArgs) -> Result<NetworkOptions, Vec<String>> {
    let mut errors = Vec::new();
    let mut headers = Vec::new();
    for text in &args.headers {
        match header_lines(text) {
            Ok(lines) => headers.extend(lines.iter().map(|line| header(line))),
            Err(error) => errors.push(error),
        }
    }
    let (headers, wrong): (Vec<_>, Vec<_>) = headers.into_iter().partition(Result::is_ok);
    errors.extend(wrong.into_iter().filter_map(Result::err));
    let bearer = match args.bearer.as_deref().map(bearer) {
        Some(Err(error)) => {
            errors.push(error);
            None
        }
        token => token.and_then(Result::ok),
    };
    let netrc = match args.netrc.then(netrc) {
        Some(Err(error)) => {
            errors.push(error);
            Vec::new()
        }
        entries => entries.and_then(Result::ok).unwrap_or_default(),
    };
    let verify = if args.insecure {
        Verify::Nothing
    } else {
        Verify::Certificate
    };
    errors.extend(
        args.cacert
            .as_deref()
            .and_then(|path| unusable(path, verify)),
    );
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(NetworkOptions {
        netrc,
        verify,
        headers: headers.into_iter().filter_map(Result::ok).collect(),
        bearer,
        ca: args.cacert.clone(),
    })
}

/// Why certificates cannot be used.
fn unusable(path: &Path, verify: Verify) -> Option<String> {
    let tls = Tls {
        ca: Some(path.to_owned()),
        verify,
        ..Tls::default()
    };
    let why = match tls.read().err()? {
        ClientError::Pem { reason, .. } => reason,
        other => other.to_string(),
    };
    Some(format!("--cacert {}: {why}", path.display()))
}

/// The entries of the netrc file.
fn netrc() -> Result<Vec<NetrcEntry>, String> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".netrc"));
    let path = std::env::var_os("NETRC").map(PathBuf::from).or_else(home);
    let path = path.ok_or("--netrc: there is no HOME and no NETRC")?;
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("--netrc: {}: {error}", path.display()))?;
    netrc_entries(&text).map_err(|why| format!("--netrc: {}: {why}", path.display()))
}

/// Reads a netrc file: `machine HOST login USER password SECRET`, in words over any number of lines;
/// `default` stands for every other host.
fn netrc_entries(text: &str) -> Result<Vec<NetrcEntry>, String> {
    let mut entries: Vec<NetrcEntry> = Vec::new();
    let mut words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("nothing stands after `{word}`"));
        let host = match word {
            "machine" => Some(value()?.to_owned()),
            "default" => None,
            "login" | "password" | "account" => {
                let value = value()?;
                let entry = entries
                    .last_mut()
                    .ok_or(format!("`{word}` before any `machine`"))?;
                match word {
                    "login" => value.clone_into(&mut entry.user),
                    "password" => entry.password = Secret::new(value).given_by(Some("--netrc")),
                    _ => {}
                }
                continue;
            }
            // Macros of ftp follow, up to an empty line; nothing else comes after them in practice.
            "macdef" => break,
            // It may be a secret: it is not shown.
            _ => return Err("a word that is none of netrc's".to_owned()),
        };
        entries.push(NetrcEntry {
            host,
            user: String::new(),
            password: Secret::new(""),
        });
    }
    Ok(entries)
}

fn bearer(text: &str) -> Result<Secret, String> {
    let (token, place) = match text.strip_prefix('@') {
        Some(path) => (read("--bearer", path)?, path),
        None if is_from(BEARER_VARIABLE, text) => (text.to_owned(), BEARER_VARIABLE),
        None => (text.to_owned(), "--bearer"),
    };
    let token = token.trim();
    if token.is_empty() || HeaderValue::from_str(token).is_err() {
        return Err(format!("{place}: no token that a header could carry"));
    }
    Ok(Secret::new(token).given_by(Some(place)))
}

fn header_lines(text: &str) -> Result<Vec<String>, String> {
    let Some(path) = text.strip_prefix('@') else {
        return Ok(vec![text.to_owned()]);
    };
    let text = read("-H", path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn read(flag: &str, path: &str) -> Result<String, String> {
    std::fs::read_to_string(Path::new(path)).map_err(|error| format!("{flag} @{path}: {error}"))
}

/// `K: V` or `NAME=K: V`.
fn header(text: &str) -> Result<HeaderOption, String> {
    let wrong = |why: &str| Err(format!("-H: {why}; for example -H 'X-Tenant: core'"));
    let Some((key, value)) = text.split_once(':') else {
        return wrong("a header needs a colon");
    };
    let (source, name) = match key.split_once('=') {
        Some((source, name)) => (Some(source.to_owned()), name.trim()),
        None => (None, key.trim()),
    };
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return wrong(&format!("`{name}` is not a header's name"));
    }
    let value = value.trim();
    if HeaderValue::from_str(value).is_err() {
        return wrong("the value holds a character that no header may");
    }
    Ok(HeaderOption {
        source,
        name: name.to_owned(),
        value: Secret::new(value).given_by(Some("-H")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_for_all_sources_or_for_one() {
        let parsed = |text| {
            let header = header(text)?;
            Ok((header.source, header.name, header.value.expose().to_owned()))
        };
        let own = str::to_owned;

        assert_eq!(parsed("X-A: b=c: d"), Ok((None, own("X-A"), own("b=c: d"))));
        assert_eq!(
            parsed("web=X-A:b"),
            Ok((Some(own("web")), own("X-A"), own("b")))
        );
        let error: Result<_, String> = parsed("secret");
        assert!(!error.unwrap_err().contains("secret"));
        assert!(parsed("a b: c").is_err());
    }

    #[test]
    fn a_netrc_file_is_words() {
        let text = "# mine\nmachine a.example login me password s3cret\n\
                    default\n  login guest\n  password none\n";

        let entries = netrc_entries(text).unwrap();

        let shown: Vec<_> = entries
            .iter()
            .map(|it| (it.host.as_deref(), it.user.as_str(), it.password.expose()))
            .collect();
        assert_eq!(
            shown,
            [(Some("a.example"), "me", "s3cret"), (None, "guest", "none")]
        );
        let torn = netrc_entries("machine a.example login").unwrap_err();
        assert_eq!(torn, "nothing stands after `login`");
        let odd = netrc_entries("machine a login b s3cret").unwrap_err();
        assert!(!odd.contains("s3cret"), "{odd}");
    }

    #[test]
    fn files_hold_headers_and_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("@{}", path.display())
        };
        let args = NetworkArgs {
            headers: vec![at("headers", "X-A: 1\n\nX-B: 2\n")],
            bearer: Some(at("token", "t0ken\n")),
            cacert: None,
            netrc: false,
            insecure: false,
        };

        let options = options(&args).unwrap();

        assert_eq!(options.headers.len(), 2);
        let bearer = options.bearer.unwrap();
        assert_eq!(bearer.expose(), "t0ken");
        assert_eq!(
            bearer.place(),
            args.bearer.as_deref().and_then(|it| it.strip_prefix('@'))
        );
    }
}
