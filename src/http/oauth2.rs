//! OAuth 2 for machines: the client credentials grant (RFC 6749 §4.4), with tokens that are fetched
//! anew before they expire or when they are refused.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::credentials::{read_again, sensitive};
use super::endpoint::{asked_delay, param_encoded, parsed_url, root_cause};
use super::{ClientError, ClientOptions, Trouble, client, describe_status};
use crate::secret::{Secret, shown_url};

/// The whole of one request for a token.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A token is fetched anew so long before it expires, or after nine tenths of its life.
const AHEAD: Duration = Duration::from_secs(60);

/// How long a token counts whose server does not say: until it is refused.
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// After a failure nobody asks again for so long: many requests wait for one token.
const PAUSE: Duration = Duration::from_secs(1);

/// A longer answer is none.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token_url: String,
    /// Who asks.
    pub client_id: String,
    /// And how it proves that.
    pub client_secret: Secret,
    /// What for; `None`: as the server sees fit.
    pub scope: Option<String>,
}

/// Keeps one token fresh.
#[derive(Debug)]
pub(super) struct Tokens {
    config: OAuth2,
    client: reqwest::Client,
    url: Url,
    /// An asynchronous lock: whoever needs a token while one is fetched waits for that one.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// True where the server wants the secret in the body instead of a header.
    in_body: bool,
    failed: Option<(Instant, Trouble)>,
}

#[derive(Clone, Debug)]
struct Token {
    header: HeaderValue,
    fresh_until: Instant,
    valid_until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

impl Tokens {
    pub(super) fn new(config: &OAuth2, options: ClientOptions) -> Result<Self, ClientError> {
        Ok(Self {
            config: config.clone(),
            client: client(&config.token_url, options)?,
            url: parsed_url(&config.token_url)?,
            state: Mutex::default(),
        })
    }

    /// A value for `Authorization`.
    pub(super) async fn get(&self) -> Result<HeaderValue, Trouble> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let known = state.token.clone();
        if let Some(token) = known.as_ref().filter(|token| now < token.fresh_until) {
            return Ok(token.header.clone());
        }
        let usable = known.filter(|token| now < token.valid_until);
        let fetched = match &state.failed {
            Some((at, trouble)) if now < *at + PAUSE => Err(trouble.clone()),
            _ => self.fetch(&mut state.in_body).await,
        };
        match (fetched, usable) {
            (Ok(token), _) => {
                state.failed = None;
                let header = token.header.clone();
                state.token = Some(token);
                Ok(header)
            }
            (Err(_), Some(token)) => Ok(token.header),
            (Err(trouble), None) => {
                state.failed = Some((Instant::now(), trouble.clone()));
                Err(trouble)
            }
        }
    }

    /// Forgets a token that was refused; true where it is known no more, so that another may count.
    pub(super) async fn refused(&self, header: &HeaderValue) -> bool {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|it| it.header == *header) {
            state.token = None;
        }
        true
    }

    async fn fetch(&self, in_body: &mut bool) -> Result<Token, Trouble> {
        let secret = self.config.client_secret.clone();
        let secret = spawn_blocking(move || read_again(&secret).unwrap_or(secret));
        let secret = secret
            .await
            .map_err(|_| self.trouble("the runtime is ending"))?;
        let first = self.ask(&secret, *in_body).await?;
        // RFC 6749 §2.3.1: servers must take the secret in a header, and some do not.
        if matches!(first.status().as_u16(), 400 | 401) && !*in_body {
            let refusal = self.refusal(first).await;
            let second = self.ask(&secret, true).await?;
            if !second.status().is_success() {
                return Err(refusal);
            }
            *in_body = true;
            return self.granted(second).await;
        }
        if !first.status().is_success() {
            return Err(self.refusal(first).await);
        }
        self.granted(first).await
    }

    async fn ask(&self, secret: &Secret, in_body: bool) -> Result<Response, Trouble> {
        let mut form = vec![("grant_type", "client_credentials")];
        if let Some(scope) = &self.config.scope {
            form.push(("scope", scope));
        }
        let mut request = self.client.post(self.url.clone());
        if in_body {
            form.push(("client_id", &self.config.client_id));
            form.push(("client_secret", secret.expose()));
        } else {
            // A colon stands between the two.
            let [id, proof] = [&*self.config.client_id, secret.expose()]
                .map(|text| param_encoded(text).replace(':', "%3A"));
            let pair = format!("{id}:{proof}");
            let value = Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair)));
            let value = sensitive(&value).expect("base64 can stand in a header");
            request = request.header(AUTHORIZATION, value);
        }
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", param_encoded(value)))
            .collect();
        let request = request
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(TIMEOUT)
            .body(form.join("&"));
        let sent = request.send().await;
        sent.map_err(|error| self.trouble(&root_cause(&error)))
    }

    async fn granted(&self, response: Response) -> Result<Token, Trouble> {
        let body = self.body(response).await?;
        let granted: Granted = serde_json::from_slice(&body)
            .map_err(|_| self.trouble("the answer holds no access_token"))?;
        let kind = granted.token_type.as_deref().unwrap_or("Bearer");
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(self.lasting(&format!("a token of type `{kind}` cannot be used")));
        }
        let header = sensitive(&Secret::new(format!("Bearer {}", granted.access_token)))
            .ok_or_else(|| self.trouble("the token cannot stand in a header"))?;
        let life = granted.expires_in.as_ref().and_then(seconds);
        let life = life.map_or(LIFE, |life| life.min(LIFE));
        let now = Instant::now();
        Ok(Token {
            header,
            fresh_until: now + (life - AHEAD.min(life / 10)),
            valid_until: now + life,
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return Ok(body),
                Err(error) => return Err(self.trouble(&root_cause(&error))),
            }
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.trouble("the answer is too long for a token"));
            }
        }
    }

    /// What an answer other than success means.
    async fn refusal(&self, response: Response) -> Trouble {
        let status = response.status().as_u16();
        let after = asked_delay(&response);
        let body = self.body(response).await.unwrap_or_default();
        let reason = serde_json::from_slice::<Refused>(&body).map_or_else(
            |_| String::new(),
            |refused| match refused.error_description {
                Some(more) => format!("{}: {more}", refused.error),
                None => refused.error,
            },
        );
        let reason: String = reason
            .chars()
            .filter(|it| !it.is_control())
            .take(200)
            .collect();
        let said = match status {
            408 | 429 | 500..=599 => {
                return Trouble::Passing {
                    cause: self.named(&describe_status(status, &reason)),
                    after,
                };
            }
            401 => {
                format!("HTTP 401 Unauthorized (are client_id and client_secret right?) {reason}")
            }
            _ => describe_status(status, &reason),
        };
        Trouble::on_the_way(status, self.named(said.trim_end()))
    }

    fn named(&self, what: &str) -> String {
        format!(
            "no token from {}: {what}",
            shown_url(&self.config.token_url)
        )
    }

    fn trouble(&self, what: &str) -> Trouble {
        Trouble::passing(self.named(what))
    }

    fn lasting(&self, what: &str) -> Trouble {
        Trouble::lasting(self.named(what))
    }
}

/// Some servers write the number as a string.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_numbers_or_strings() {
        let of = |text: &str| seconds(&serde_json::from_str(text).unwrap());

        assert_eq!(of("3600"), Some(Duration::from_secs(3600)));
        assert_eq!(of("\"60\""), Some(Duration::from_secs(60)));
        assert_eq!(of("-1"), None);
        assert_eq!(of("null"), None);
    }
}
