//! Asks for what is new in a remote file, and reads the answer.

use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
    RANGE,
};
use reqwest::{Response, StatusCode, Url};

use super::place::{Place, Window};
use crate::framing::{Framer, Pool, RecordLimits, Recording, Start, Taken};
use crate::http::{Ask, Endpoint, Trouble, accepted};
use crate::model::StreamKey;
use crate::secret::shown_url;
use crate::source::body::Body;
use crate::source::fanout::{Fanout, JOIN_BYTES};
use crate::source::session::{End, Session};
use crate::source::{Common, SourceContext};

/// An answer that does not go on for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// How one look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything there is was read.
    Done,
    /// It is another file than before, and begins anew.
    Again,
}

/// Follows one file.
#[derive(Debug)]
pub(super) struct Tail {
    url: Url,
    fanout: Fanout,
    pool: Pool,
    recording: Recording,
    line_bytes_max: usize,
    place: Place,
    /// Since when the file ends where it does, beyond the place.
    seen_end: (u64, Instant),
    /// As of the last answer that was read whole: what it is called if it has not changed.
    etag: Option<HeaderValue>,
    /// The last line, which has no newline yet.
    unfinished: Vec<u8>,
    /// True where a record may go on: whether it did must be asked even if nothing changes.
    is_open: bool,
    /// True where the file was ever read.
    is_known: bool,
    told_whole: bool,
}

/// Bytes of one answer on their way to becoming lines.
struct Intake {
    framer: Framer,
    window: Window,
}

impl Tail {
    pub(super) fn new(common: &Common, url: Url, cx: &SourceContext) -> Self {
        let stream = StreamKey::new(shown_url(url.as_str()));
        let fanout = Fanout::new(common, stream, cx);
        let offset_of = |token: &str| Place::read(token).map(|place| place.offset);
        let place = fanout.resume(offset_of);
        let place = place.and_then(|(token, _)| Place::read(&token));
        Self {
            url,
            fanout,
            pool: Pool::default(),
            recording: common.recording.clone(),
            line_bytes_max: common.line_bytes_max,
            is_known: place.is_some(),
            place: place.unwrap_or_else(Place::beginning),
            seen_end: (0, Instant::now()),
            etag: None,
            unfinished: Vec::new(),
            is_open: false,
            told_whole: false,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Asks once, and reads what is new.
    pub(super) async fn look(
        &mut self,
        endpoint: &Endpoint,
        session: &mut Session,
    ) -> Result<Look, End> {
        let ask = self.question();
        let response = tokio::select! {
            biased;
            () = session.stopped() => return Err(End::Stopped),
            sent = tokio::time::timeout(STALLED, endpoint.send(&self.url, &ask)) => {
                sent.map_err(|_| End::cut("no answer"))??
            }
        };
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            self.stands(session);
            return self.begin_anew("is shorter than it was", session).await;
        }
        if status == StatusCode::NOT_MODIFIED {
            self.stands(session);
            return Ok(Look::Done);
        }
        // While a file is being rotated it may be missing for a moment.
        if self.is_known && matches!(status.as_u16(), 404 | 410) {
            return Err(End::cut(format!("HTTP {status}: it is not there now")));
        }
        let response = accepted(response)?;
        let skip = self.first_byte(&response)?;
        self.stands(session);
        session.received();
        if skip > 0
            && response
                .content_length()
                .is_some_and(|it| it < self.place.offset)
        {
            return self.begin_anew("is shorter than it was", session).await;
        }
        if skip > 0 && !std::mem::replace(&mut self.told_whole, true) {
            session.hint("the server sends the whole file each time: it knows no ranges");
        }
        let etag = response.headers().get(ETAG).cloned();
        // A weak one can be that of another file of the same second.
        let etag = etag.filter(|it| !it.as_bytes().starts_with(b"W/"));
        // An answer that breaks off must be asked for again.
        self.etag = None;
        let mut body = Body::new(response)?;
        if !self.skip(&mut body, skip, session).await? {
            return self.begin_anew("is another one than it was", session).await;
        }
        self.etag = etag.filter(|_| !self.is_open);
        self.is_known = true;
        Ok(Look::Done)
    }

    /// Sends a last line that has no newline. The place stays: after a restart the line comes again,
    /// whole.
    pub(super) async fn finish(&mut self) -> Result<(), End> {
        let unfinished = std::mem::take(&mut self.unfinished);
        let mut intake = self.intake(&[]);
        intake.framer.extend(&unfinished);
        let lines = intake.framer.finish().and_then(|taken| taken.lines);
        let Some(lines) = lines else {
            return Ok(());
        };
        let pushed = self.fanout.push(lines, self.place.position()).await;
        pushed.map_err(|_| End::Closed)
    }

    fn question(&self) -> Ask {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let start = self.place.offset - self.place.guarded();
        if self.place.offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={start}-"));
            headers.insert(RANGE, range.expect("digits can stand in a header"));
        }
        if let Some(etag) = &self.etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        Ask {
            headers,
            ..Ask::get(self.url.clone())
        }
    }

    fn stands(&self, session: &mut Session) {
        if !session.is_connected() {
            session.connected("range");
        }
    }

    /// How many bytes of a body come before those that are guarded.
    fn first_byte(&self, response: &Response) -> Result<u64, End> {
        let encoding = response.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|it| it != "identity") {
            let cause = "the answer is compressed: no range of it can be read";
            return Err(Trouble::lasting(cause).into());
        }
        let start = self.place.offset - self.place.guarded();
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(start);
        }
        let range = response.headers().get(CONTENT_RANGE);
        let range = range.and_then(|it| it.to_str().ok()?.strip_prefix("bytes "));
        let first = range.and_then(|it| it.split('-').next()?.trim().parse::<u64>().ok());
        match first {
            Some(first) if first == start => Ok(0),
            _ => Err(End::cut(format!(
                "the answer is another range than from byte {start} on"
            ))),
        }
    }

    /// Reads a body: passes over what comes before the guard, compares that, and sends the rest.
    /// False where the file is another one.
    async fn skip(
        &mut self,
        body: &mut Body,
        mut skip: u64,
        session: &Session,
    ) -> Result<bool, End> {
        let guarded = usize::try_from(self.place.guarded()).unwrap_or(usize::MAX);
        let mut before: Vec<u8> = Vec::with_capacity(guarded);
        let mut intake = None;
        loop {
            let next = tokio::select! {
                biased;
                () = session.stopped() => return Err(End::Stopped),
                next = tokio::time::timeout(STALLED, body.next()) => next,
            };
            let Some(bytes) = next.map_err(|_| End::cut("the answer does not go on"))? else {
                break;
            };
            let mut bytes = bytes.map_err(End::cut)?;
            let n_over = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            skip -= n_over as u64;
            let _ = bytes.split_to(n_over);
            if intake.is_none() {
                let n_before = (guarded - before.len()).min(bytes.len());
                before.extend_from_slice(&bytes.split_to(n_before));
                if skip > 0 || before.len() < guarded {
                    continue;
                }
                if !self.place.is_behind(&before) {
                    return Ok(false);
                }
                intake = Some(self.intake(&before));
            }
            let intake = intake.as_mut().expect("it was just made");
            for part in bytes.chunks(JOIN_BYTES) {
                intake.framer.extend(part);
                intake.window.extend(part);
                while let Some(taken) = intake.framer.take() {
                    self.send(intake, Some(taken)).await?;
                }
                session
                    .counters()
                    .unparsed
                    .add(intake.framer.take_unparsed());
            }
        }
        let Some(mut intake) = intake else {
            // It ended before what is known of it.
            return Ok(self.place.offset == 0);
        };
        self.note_end(&mut intake).await?;
        Ok(true)
    }

    fn intake(&self, before: &[u8]) -> Intake {
        let limits = RecordLimits {
            line_bytes_max: self.line_bytes_max,
            records: usize::MAX,
            bytes: JOIN_BYTES,
        };
        let start = Start {
            offset: self.place.offset,
            mid_line: self.place.mid_line,
            ahead: None,
        };
        Intake {
            framer: Framer::new(self.pool.clone(), start, &self.recording, limits),
            window: Window::new(self.place.offset, before),
        }
    }

    /// Remembers what is behind the last whole line. A record that may go on waits for its time-out.
    async fn note_end(&mut self, intake: &mut Intake) -> Result<(), End> {
        let end = intake.framer.read_offset();
        if self.seen_end.0 != end {
            self.seen_end = (end, Instant::now());
        }
        if self.seen_end.1.elapsed() >= self.recording.timeout() {
            let taken = intake.framer.close_all();
            self.send(intake, taken).await?;
        }
        self.is_open = intake.framer.open().next().is_some();
        let unfinished = intake.window.behind(self.place.offset);
        let kept = unfinished.len().min(self.line_bytes_max);
        self.unfinished = unfinished[..kept].to_vec();
        Ok(())
    }

    async fn send(&mut self, intake: &mut Intake, taken: Option<Taken>) -> Result<(), End> {
        let Some(taken) = taken else {
            return Ok(());
        };
        self.place = intake.window.place(taken.end, taken.mid_line);
        let position = self.place.position();
        let pushed = match taken.lines {
            Some(lines) => self.fanout.push(lines, position).await,
            None => self.fanout.pass(&position).await,
        };
        pushed.map_err(|_| End::Closed)
    }

    /// The file is another one: what was left of the old one is sent, and it is read from its
    /// beginning. What was appended to the old one since is lost, and nobody knows how much it was.
    async fn begin_anew(&mut self, why: &str, session: &Session) -> Result<Look, End> {
        let offset = self.place.offset;
        session.hint(&format!(
            "the file {why} (byte {offset}): it is read from its beginning"
        ));
        if !self.unfinished.is_empty() {
            self.finish().await?;
        }
        self.place = Place::beginning();
        self.etag = None;
        self.seen_end = (0, Instant::now());
        let passed = self.fanout.pass(&self.place.position()).await;
        passed.map_err(|_| End::Closed)?;
        Ok(Look::Again)
    }
}
