//! Asks one URL, round by round.

use std::time::Instant;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LINK,
};
use tokio::time::sleep;

use super::Shared;
use super::config::{PollConfig, SentAs};
use super::fetch::fetch;
use super::follow::{Round, Said, Step, first_url};
use super::known::{KNOWN_MAX, Known};
use super::page::{Records, records};
use super::place::{Place, Unchanged, hash};
use crate::framing::MessageBuffer;
use crate::http::Ask;
use crate::model::{Position, StreamKey};
use crate::source::fanout::{Fanout, JOIN_BYTES};
use crate::source::session::{End, Next, Session};
use crate::source::{Common, Ends, SourceContext};

const ACCEPTED: HeaderValue =
    HeaderValue::from_static("application/json, application/x-ndjson, */*;q=0.5");

/// What is told where `dedupe` cannot hold what it promises.
const MORE_THAN_KNOWN: &str = "a round has more records than dedupe remembers (10000): some of them come \
                               twice; a `cursor` would ask for the new ones only";

/// One URL of a source.
#[derive(Debug)]
pub(super) struct Target {
    home: Url,
    fanout: Fanout,
    session: Session,
    line_bytes_max: usize,
    place: Place,
    known: Known,
    /// The server asked not to be asked before.
    not_before: Option<Instant>,
    /// What was told of the set-up.
    told: Vec<&'static str>,
}

impl Target {
    pub(super) fn new(
        common: &Common,
        (home, stream): (Url, StreamKey),
        session: Session,
        cx: &SourceContext,
    ) -> Self {
        let fanout = Fanout::new(common, stream, cx);
        let place = fanout.resume(|token| Some(Place::read(token).n_records));
        let place = place.map_or_else(Place::default, |(token, _)| Place::read(&token));
        Self {
            home,
            fanout,
            session,
            line_bytes_max: common.line_bytes_max,
            known: place.known(),
            place,
            not_before: None,
            told: Vec::new(),
        }
    }

    /// Runs until told to stop.
    pub(super) async fn run(mut self, shared: &Shared) {
        let config = &shared.config;
        loop {
            let begun = Instant::now();
            let end = match self.round(shared).await {
                Ok(()) if config.ends == Ends::WithFirstConnection => End::Complete,
                Ok(()) => {
                    let due = begun + self.session.spread(config.interval);
                    if self.rest(due.max(self.not_before.unwrap_or(due))).await == Next::Return {
                        return;
                    }
                    continue;
                }
                Err(end) => end,
            };
            let is_failure = matches!(
                end,
                End::Cut { .. } | End::Refused { .. } | End::Denied { .. }
            );
            let resume = self.place.cursor.clone();
            if self.session.after(end, resume.as_deref()).await == Next::Return {
                return;
            }
            if let Some(not_before) = self.not_before.filter(|_| is_failure)
                && self.rest(not_before).await == Next::Return
            {
                return;
            }
        }
    }

    async fn rest(&self, until: Instant) -> Next {
        tokio::select! {
            biased;
            () = self.session.stopped() => Next::Return,
            () = sleep(until.saturating_duration_since(Instant::now())) => Next::Connect,
        }
    }

    /// Asks for every page there is.
    async fn round(&mut self, shared: &Shared) -> Result<(), End> {
        let config = &shared.config;
        let mut round = Round::new(self.first_url(config), config);
        self.known.begin_round();
        // Where the newest record comes first, the first page tells how far this round leads.
        let mut newest = None;
        loop {
            let ask = self.question(config, &round);
            let mut not_before = None;
            let answer = tokio::select! {
                biased;
                () = self.session.stopped() => return Err(End::Stopped),
                answer = fetch(shared, (&self.home, &ask), &mut not_before) => answer,
            };
            self.not_before = not_before;
            let answer = answer?;
            if !self.session.is_connected() {
                self.session.connected("poll");
            }
            self.session.received();
            let Some(body) = &answer.body else {
                return Ok(());
            };
            let found = records(body, &config.records).map_err(End::cut)?;
            self.note_missing(&found);
            let before = self.place.clone();
            let text = std::str::from_utf8(body).ok();
            let is_moved = self.move_cursor(config, text, round.is_first(), &mut newest);
            let said = Said {
                url: &answer.url,
                links: links(&answer.headers),
                text,
                n_records: found.len(),
                is_moved,
            };
            let again = (self.first_url(config), self.place.cursor.as_deref());
            let is_first = round.is_first();
            let step = round.step(config, &said, again);
            if step != Step::Page
                && let Some(newest) = newest.take()
            {
                self.place.cursor = Some(newest);
            }
            // What a cursor that has moved asks for is another page, also where it goes in a header.
            let ends_here = step != Step::Page
                && (is_first || config.next.is_none())
                && self.place.cursor == before.cursor;
            self.note_validators(config, (&ask, &answer.headers), ends_here);
            self.push(config, &found, before).await?;
            match step {
                Step::Page => {}
                Step::Over => return Ok(()),
                Step::Stopped(why) => {
                    self.tell(why);
                    return Ok(());
                }
            }
        }
    }

    /// Takes over what an answer says about where to go on; true where that is another place. Where the
    /// first page of several says it, it is the `newest` until the round is over.
    fn move_cursor(
        &mut self,
        config: &PollConfig,
        text: Option<&str>,
        is_first: bool,
        newest: &mut Option<String>,
    ) -> bool {
        let Some(rule) = &config.cursor else {
            return false;
        };
        let Some(cursor) = text.and_then(|text| rule.from.find(text)) else {
            return false;
        };
        if config.next.is_some() && rule.from.is_of_first() {
            if is_first {
                *newest = Some(cursor.into_owned());
            }
            return false;
        }
        let is_moved = self.place.cursor.as_deref() != Some(&*cursor);
        self.place.cursor = Some(cursor.into_owned());
        is_moved
    }

    fn first_url(&self, config: &PollConfig) -> Url {
        let start = || config.cursor.as_ref()?.start.as_deref();
        let cursor = self.place.cursor.as_deref().or_else(start);
        first_url(&self.home, config, cursor)
    }

    /// What is asked for a page.
    fn question(&self, config: &PollConfig, round: &Round) -> Ask {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, ACCEPTED);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        let mut set = |name: HeaderName, value: Option<&str>| {
            if let Some(value) = value.and_then(|it| HeaderValue::try_from(it).ok()) {
                headers.insert(name, value);
            }
        };
        if let Some(rule) = &config.cursor
            && let SentAs::Header(name) = &rule.sent_as
        {
            set(
                name.clone(),
                self.place.cursor.as_deref().or(rule.start.as_deref()),
            );
        }
        let unchanged = self.place.unchanged.as_ref();
        if let Some(known) = unchanged.filter(|it| it.page == self.page_key(round.url())) {
            set(IF_NONE_MATCH, known.etag.as_deref());
            set(IF_MODIFIED_SINCE, known.modified.as_deref());
        }
        let body = config.body.as_ref().map(|it| it.expose().to_owned());
        if let Some(body) = &body {
            let is_json = body.trim_start().starts_with(['{', '[']);
            set(
                CONTENT_TYPE,
                Some(if is_json {
                    "application/json"
                } else {
                    "text/plain"
                }),
            );
        }
        Ask {
            method: config.method.clone(),
            url: round.url().clone(),
            headers,
            body: body.map(Bytes::from),
        }
    }

    /// What a page is known by: its URL, and the cursor that may go beside it.
    fn page_key(&self, url: &Url) -> u64 {
        hash(&format!(
            "{url} {}",
            self.place.cursor.as_deref().unwrap_or_default()
        ))
    }

    /// Remembers how to ask whether a page is as it was, where it is the one that the next round
    /// begins with.
    fn note_validators(
        &mut self,
        config: &PollConfig,
        (ask, headers): (&Ask, &HeaderMap),
        ends_here: bool,
    ) {
        let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let (etag, modified) = (text(ETAG), text(LAST_MODIFIED));
        let is_next = ends_here && ask.url == self.first_url(config);
        self.place.unchanged =
            (is_next && (etag.is_some() || modified.is_some())).then(|| Unchanged {
                page: self.page_key(&ask.url),
                etag,
                modified,
            });
    }

    /// Sends the records of a page; `before` is where the API stood before it.
    async fn push(
        &mut self,
        config: &PollConfig,
        found: &Records<'_>,
        before: Place,
    ) -> Result<(), End> {
        let mut messages = MessageBuffer::new(self.line_bytes_max);
        for index in 0..found.len() {
            let id = config.dedupe.as_ref().and_then(|at| found.id(index, at));
            if id.is_some_and(|id| !self.known.see(hash(&id))) {
                self.fanout.count_duplicates(1);
                continue;
            }
            self.place.n_records += 1;
            // What waits goes first: the last part brings the new place.
            if messages.ready() >= JOIN_BYTES
                && let Some(lines) = messages.take()
            {
                let position = before.position();
                let pushed = self.fanout.push(lines, position).await;
                pushed.map_err(|_| End::Closed)?;
            }
            found.put(index, &mut messages);
        }
        if config.dedupe.is_some() {
            self.place.set_ids(&self.known);
            if self.known.n_round() > KNOWN_MAX && config.cursor.is_none() {
                self.tell(MORE_THAN_KNOWN);
            }
        }
        let position = self.position(config);
        match messages.take() {
            Some(lines) => {
                let pushed = self.fanout.push(lines, position).await;
                pushed.map_err(|_| End::Closed)
            }
            None => {
                if self.place != before {
                    let passed = self.fanout.pass(&position).await;
                    passed.map_err(|_| End::Closed)?;
                }
                Ok(())
            }
        }
    }

    fn position(&self, config: &PollConfig) -> Position {
        if self.place.is_nowhere() && config.cursor.is_none() {
            return Position::Live;
        }
        self.place.position()
    }

    fn note_missing(&mut self, found: &Records) {
        if *found == Records::Missing {
            self.tell("there is nothing at `records` in the answer");
        }
    }

    /// Tells once what may be wrong with the set-up.
    fn tell(&mut self, what: &'static str) {
        if !self.told.contains(&what) {
            self.told.push(what);
            self.session.hint(what);
        }
    }
}

fn links(headers: &HeaderMap) -> Vec<&str> {
    let links = headers.get_all(LINK).into_iter();
    links.filter_map(|it| it.to_str().ok()).collect()
}
