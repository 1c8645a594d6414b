//! Who a request is from: headers, basic credentials, a bearer token, or one that OAuth 2 grants; and
//! their files, which are read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::oauth2::{OAuth2, Tokens};
use super::{ClientError, ClientOptions, Trouble};
use crate::secret::{Secret, SecretPart, shown_url};

/// What a request carries to say who it is from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// Extra headers; values may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// User and password for basic authentication.
    pub basic: Option<(String, Secret)>,
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// Where a bearer token comes from.
    pub oauth2: Option<OAuth2>,
}

impl Credentials {
    /// The headers. They may hold secrets: they go to the configured origin only.
    ///
    /// # Errors
    /// [`ClientError`] names what cannot stand in a header.
    pub fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let refused = |reason: &str| ClientError::Client(format!("header `{name}`: {reason}"));
            let name =
                HeaderName::try_from(name).map_err(|_| refused("the name is not allowed"))?;
            headers.append(
                name,
                sensitive(value).ok_or_else(|| refused("the value is not allowed"))?,
            );
        }
        let refused = || ClientError::Client("the credentials cannot stand in a header".to_owned());
        if let Some(token) = &self.bearer {
            let value = token.after("Bearer ");
            headers.insert(AUTHORIZATION, sensitive(&value).ok_or_else(refused)?);
        }
        if let Some((user, password)) = &self.basic {
            let value = basic_credentials(user, password);
            headers.insert(AUTHORIZATION, sensitive(&value).ok_or_else(refused)?);
        }
        Ok(headers)
    }

    /// The same credentials with what their files hold now.
    fn read_again(&self) -> io::Result<Self> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| Ok((name.clone(), read_again(value)?)));
        Ok(Self {
            headers: headers.collect::<io::Result<_>>()?,
            basic: match &self.basic {
                Some((user, password)) => Some((user.clone(), read_again(password)?)),
                None => None,
            },
            bearer: self.bearer.as_ref().map(read_again).transpose()?,
            oauth2: self.oauth2.clone(),
        })
    }

    /// Where they come from, for a person whose they are and who is refused; `None`: there are none.
    pub fn hint(&self) -> Option<String> {
        /// How the names of headers end that say who asks.
        const CREDENTIALS: [&str; 5] = ["authorization", "cookie", "token", "key", "secret"];
        let from = |what: &str, secret: &Secret| match secret.place() {
            Some(place) if place.starts_with("${env:") => {
                format!("{what} from {place}; is it set?")
            }
            Some(place) => format!("{what} from {place}; is it right?"),
            None => format!("is the {what} right?"),
        };
        if let Some(oauth2) = &self.oauth2 {
            let url = shown_url(&oauth2.token_url);
            return Some(format!("token from {url}; does its scope allow this?"));
        }
        if let Some(token) = &self.bearer {
            return Some(from("token", token));
        }
        if let Some((_, password)) = &self.basic {
            return Some(from("password", password));
        }
        let says_who = |name: &str| {
            let name = name.to_ascii_lowercase();
            CREDENTIALS.iter().any(|end| name.ends_with(end))
        };
        let (name, value) = self.headers.iter().find(|(name, _)| says_who(name))?;
        Some(from(&format!("header {name}"), value))
    }

    /// The files that are among them.
    fn files(&self) -> Vec<PathBuf> {
        let headers = self.headers.iter().map(|(_, value)| value);
        let basic = self.basic.iter().map(|(_, password)| password);
        let parts = headers
            .chain(basic)
            .chain(&self.bearer)
            .flat_map(|secret| secret.parts());
        let files = parts.filter_map(|part| match part {
            SecretPart::File(path) => Some(path.clone()),
            SecretPart::Text(_) => None,
        });
        files.collect()
    }
}

pub(super) fn read_again(secret: &Secret) -> io::Result<Secret> {
    if secret.parts().is_empty() {
        return Ok(secret.clone());
    }
    let mut value = String::new();
    for part in secret.parts() {
        match part {
            SecretPart::Text(text) => value.push_str(text),
            SecretPart::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                value.push_str(text.strip_suffix('\r').unwrap_or(text));
            }
        }
    }
    Ok(Secret::from_parts(value, secret.parts().to_vec()).given_by(secret.place()))
}

/// The headers of [`Credentials`], made anew when one of their files changes.
#[derive(Debug)]
pub struct LiveHeaders {
    credentials: Credentials,
    files: Vec<PathBuf>,
    tokens: Option<Tokens>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    headers: HeaderMap,
    seen: Vec<Option<Stamp>>,
    looked: Instant,
    /// True once it was said that the files cannot be used.
    is_said: bool,
}

/// What tells that a file is another or has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl LiveHeaders {
    /// How often the files are looked at.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Makes the headers from what the configuration found in the files. `options` are for whoever
    /// grants tokens.
    ///
    /// # Errors
    /// [`ClientError`] names what cannot stand in a header.
    pub fn new(
        credentials: &Credentials,
        options: ClientOptions,
    ) -> Result<Arc<Self>, ClientError> {
        let files = credentials.files();
        let tokens = credentials.oauth2.as_ref();
        let state = State {
            headers: credentials.headers()?,
            // The files may have changed since the configuration was read: the first look reads.
            seen: Vec::new(),
            looked: Instant::now(),
            is_said: false,
        };
        Ok(Arc::new(Self {
            credentials: credentials.clone(),
            files,
            tokens: tokens.map(|it| Tokens::new(it, options)).transpose()?,
            state: Mutex::new(state),
        }))
    }

    /// The headers as of now; the files are looked at once a second at most.
    ///
    /// # Errors
    /// [`Trouble`] where no token is granted.
    pub async fn get(self: &Arc<Self>) -> Result<HeaderMap, Trouble> {
        let mut headers = self.without_token().await;
        if let Some(tokens) = &self.tokens {
            headers.insert(AUTHORIZATION, tokens.get().await?);
        }
        Ok(headers)
    }

    /// Notes that `headers` were refused; true where the next ones may count.
    pub async fn refused(&self, headers: &HeaderMap) -> bool {
        match (&self.tokens, headers.get(AUTHORIZATION)) {
            (Some(tokens), Some(token)) => tokens.refused(token).await,
            _ => false,
        }
    }

    async fn without_token(self: &Arc<Self>) -> HeaderMap {
        let now = Instant::now();
        {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if self.files.is_empty() || now < state.looked + Self::INTERVAL {
                return state.headers.clone();
            }
        }
        let this = Arc::clone(self);
        let looking = spawn_blocking(move || this.look(now)).await;
        looking.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// Reads the files anew where they changed. What cannot be read or sent leaves the old values.
    fn look(&self, now: Instant) -> HeaderMap {
        let seen: Vec<Option<Stamp>> = self.files.iter().map(|path| stamp(path)).collect();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.looked = now;
        if state.seen == seen {
            return state.headers.clone();
        }
        let again = self
            .credentials
            .read_again()
            .map_err(|error| error.to_string());
        match again.and_then(|it| it.headers().map_err(|error| error.to_string())) {
            Ok(headers) => {
                if state.headers != headers {
                    info!(files = ?self.files, "credentials read again: their file has changed");
                }
                state.headers = headers;
                state.seen = seen;
                state.is_said = false;
            }
            Err(error) if !state.is_said => {
                warn!(%error, "credentials cannot be read again: the old ones are used");
                state.is_said = true;
            }
            Err(_) => {}
        }
        state.headers.clone()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: found.modified().ok(),
        len: found.len(),
        inode: found.ino(),
    })
}

pub(super) fn sensitive(value: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 7617: base64 of `user:password`.
fn basic_credentials(user: &str, password: &Secret) -> Secret {
    let pair = format!("{user}:{}", password.expose());
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_base64() {
        let cases = [
            (
                "Aladdin",
                "open sesame",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("a", "b", "Basic YTpi"),
            ("a", "", "Basic YTo="),
        ];
        for (user, password, expected) in cases {
            assert_eq!(
                basic_credentials(user, &Secret::new(password)).expose(),
                expected
            );
        }
    }
}
