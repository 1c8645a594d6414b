//! Which page is asked for next, and when a round is over.
//!
//! No I/O, no clock.

use std::collections::HashSet;

use reqwest::Url;

use super::config::{CursorRule, NextRule, PollConfig, SentAs};
use super::page::next_link;
use super::place::hash;
use crate::framing::scalar;
use crate::http::set_param;

/// One round through the pages of a URL.
#[derive(Debug)]
pub(super) struct Round {
    /// The first page's URL, the cursor included.
    base: Url,
    /// The current page's.
    url: Url,
    /// Pages asked for so far.
    n_pages: u32,
    /// The number of the current page, or of its first record.
    number: u64,
    visited: HashSet<u64>,
}

/// What follows a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another page.
    Page,
    /// Nothing.
    Over,
    /// Nothing more, though there may be more; why.
    Stopped(&'static str),
}

/// What an answer says that matters for the next page.
#[derive(Debug)]
pub(super) struct Said<'a> {
    /// Where it came from in the end.
    pub(super) url: &'a Url,
    /// Its `Link` headers.
    pub(super) links: Vec<&'a str>,
    /// Its body, where that is JSON.
    pub(super) text: Option<&'a str>,
    pub(super) n_records: usize,
    /// True where the cursor has moved.
    pub(super) is_moved: bool,
}

/// The URL of a first page.
pub(super) fn first_url(home: &Url, config: &PollConfig, cursor: Option<&str>) -> Url {
    let mut url = home.clone();
    if let Some(CursorRule {
        sent_as: SentAs::Param(name),
        ..
    }) = &config.cursor
        && let Some(cursor) = cursor
    {
        set_param(&mut url, name, cursor);
    }
    if let Some(NextRule::Page { param, start } | NextRule::Offset { param, start }) = &config.next
    {
        set_param(&mut url, param, &start.to_string());
    }
    url
}

impl Round {
    /// Begins at `base`.
    pub(super) fn new(base: Url, config: &PollConfig) -> Self {
        let number = match &config.next {
            Some(NextRule::Page { start, .. } | NextRule::Offset { start, .. }) => *start,
            _ => 0,
        };
        Self {
            visited: HashSet::from([hash(base.as_str())]),
            url: base.clone(),
            base,
            n_pages: 1,
            number,
        }
    }

    /// The page to ask for.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// True for the first page.
    pub(super) fn is_first(&self) -> bool {
        self.n_pages == 1
    }

    /// Decides what follows an answer, where the cursor is now at `cursor` and the first page's URL
    /// would be `again`.
    pub(super) fn step(
        &mut self,
        config: &PollConfig,
        said: &Said,
        (again, cursor): (Url, Option<&str>),
    ) -> Step {
        let next = match self.next(config, said, again) {
            Ok(Some(next)) => next,
            Ok(None) => return Step::Over,
            Err(why) => return Step::Stopped(why),
        };
        // Without `next` the cursor alone tells pages apart, and may be sent in a header.
        let key = match (&config.next, cursor) {
            (None, Some(cursor)) => hash(&format!("{next} {cursor}")),
            _ => hash(next.as_str()),
        };
        if !self.visited.insert(key) {
            return Step::Stopped("the next page is one that was read already");
        }
        if self.n_pages >= config.pages_max {
            return Step::Stopped("there are more pages than max_pages");
        }
        self.n_pages += 1;
        self.url = next;
        Step::Page
    }

    fn next(
        &mut self,
        config: &PollConfig,
        said: &Said,
        again: Url,
    ) -> Result<Option<Url>, &'static str> {
        let is_empty = said.n_records == 0;
        match &config.next {
            None => Ok((said.is_moved && !is_empty).then_some(again)),
            Some(NextRule::Link) => {
                let Some(target) = next_link(said.links.iter().copied()) else {
                    return Ok(None);
                };
                joined(said.url, target).map(Some)
            }
            Some(NextRule::At { from, param }) => {
                let found = said.text.and_then(|text| from.find_raw(text));
                let found = found
                    .and_then(scalar)
                    .filter(|it| !it.is_empty() && *it != "false");
                let Some(found) = found else {
                    return Ok(None);
                };
                let Some(param) = param else {
                    if !found.contains(['/', '?', ':']) {
                        return Err("`next` leads to a token, not to a URL: \
                                    next = { from, param } says which parameter takes it");
                    }
                    return joined(said.url, &found).map(Some);
                };
                let mut url = self.base.clone();
                set_param(&mut url, param, &found);
                Ok(Some(url))
            }
            Some(NextRule::Page { .. } | NextRule::Offset { .. }) if is_empty => Ok(None),
            Some(NextRule::Page { param, .. }) => {
                self.number += 1;
                let mut url = self.base.clone();
                set_param(&mut url, param, &self.number.to_string());
                Ok(Some(url))
            }
            Some(NextRule::Offset { param, .. }) => {
                self.number += said.n_records as u64;
                let mut url = self.base.clone();
                set_param(&mut url, param, &self.number.to_string());
                Ok(Some(url))
            }
        }
    }
}

fn joined(base: &Url, target: &str) -> Result<Url, &'static str> {
    let url = base.join(target).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or("`next` leads to something that is no URL")
}
