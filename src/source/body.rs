//! The body of a response, as it arrives and without its compression.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use reqwest::{Response, Version};

use crate::http::{Coding, Inflate, Trouble, root_cause};

/// Bytes that come out of a decoder at once.
const ROOM_BYTES: usize = 16 * 1024;

/// The body of one response.
pub(super) struct Body {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    /// Absent where nothing is compressed.
    inflate: Option<Inflate>,
    /// What came and is not decoded yet.
    packed: Bytes,
    /// True where the decoder may have more without any more coming.
    has_more: bool,
    room: Vec<u8>,
    tells_its_end: bool,
}

impl Body {
    /// Takes the body of a response.
    ///
    /// # Errors
    /// It has an encoding that nobody asked for and nobody knows.
    pub(super) fn new(response: Response) -> Result<Self, Trouble> {
        let coding = match response.headers().get(CONTENT_ENCODING) {
            Some(name) if name != "identity" => {
                let coding = name.to_str().ok().and_then(Coding::named);
                Some(coding.ok_or_else(|| {
                    let cause = format!("content-encoding {name:?} cannot be read");
                    Trouble::lasting(format!("{cause}: it was not asked for"))
                })?)
            }
            _ => None,
        };
        let inflate = coding.map(Inflate::new).transpose();
        let inflate = inflate.map_err(|error| Trouble::passing(error.to_string()))?;
        // RFC 9112 §6.3: otherwise it ends where the connection does, for whatever reason.
        let tells_its_end = response.version() > Version::HTTP_11
            || response.headers().contains_key(TRANSFER_ENCODING)
            || response.content_length().is_some();
        Ok(Self {
            tells_its_end,
            stream: Box::pin(response.bytes_stream()),
            room: vec![0; if inflate.is_some() { ROOM_BYTES } else { 0 }],
            inflate,
            packed: Bytes::new(),
            has_more: false,
        })
    }

    /// True where its end cannot be mistaken for that of a connection that was cut.
    pub(super) fn tells_its_end(&self) -> bool {
        self.tells_its_end
    }

    /// The next bytes; `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            if let Some(inflate) = &mut self.inflate
                && (self.has_more || !self.packed.is_empty())
            {
                let (used, made) = match inflate.step(&self.packed, &mut self.room) {
                    Ok(step) => step,
                    Err(error) => return Some(Err(error)),
                };
                self.packed = self.packed.slice(used..);
                self.has_more = made == self.room.len();
                if made > 0 {
                    return Some(Ok(Bytes::copy_from_slice(&self.room[..made])));
                }
                if used == 0 && !self.packed.is_empty() {
                    return Some(Err("the compressed body makes no sense".to_owned()));
                }
                continue;
            }
            match self.stream.next().await? {
                Ok(bytes) if self.inflate.is_some() => self.packed = bytes,
                Ok(bytes) => return Some(Ok(bytes)),
                Err(error) => {
                    return Some(Err(format!("connection lost: {}", root_cause(&error))));
                }
            }
        }
    }
}
