//! Flags for sources over the network: who asks, and whom to trust.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::header::{HeaderName, HeaderValue};

use crate::config::{HeaderOption, NetworkOptions};
use crate::secret::Secret;

#[derive(Debug, Args)]
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
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(NetworkOptions {
        headers: headers.into_iter().filter_map(Result::ok).collect(),
        bearer,
        ca: args.cacert.clone(),
    })
}

fn bearer(text: &str) -> Result<Secret, String> {
    let token = match text.strip_prefix('@') {
        Some(path) => read("--bearer", path)?,
        None => text.to_owned(),
    };
    let token = token.trim();
    if token.is_empty() || HeaderValue::from_str(token).is_err() {
        return Err("--bearer: no token that a header could carry".to_owned());
    }
    Ok(Secret::new(token))
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
        value: Secret::new(value),
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
        };

        let options = options(&args).unwrap();

        assert_eq!(options.headers.len(), 2);
        assert_eq!(options.bearer, Some(Secret::new("t0ken")));
    }
}
