//! OpenTelemetry's logs over HTTP (OTLP), as protobuf or JSON.
//!
//! A resource per source: what is configured, `service.name` (else the source's name), `host.name`
//! and the source's labels. A log record per line, its text the body.
//!
//! Pure: no I/O, no clock.

mod json;
mod protobuf;

use super::Piece;

/// Options of `format = "otlp"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Otlp {
    /// Attributes of every resource, in the order of the config.
    pub resource: Vec<(String, String)>,
    /// How it is written.
    pub encoding: OtlpEncoding,
}

/// How OTLP is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// As protobuf, which every receiver takes.
    #[default]
    Protobuf,
    /// As JSON.
    Json,
}

/// The encoder of `format = "otlp"`.
#[derive(Debug)]
pub(super) struct Logs {
    options: Otlp,
    host: String,
}

/// The pieces of one source.
struct Resource<'a> {
    attributes: Vec<(&'a str, &'a str)>,
    pieces: Vec<&'a Piece<'a>>,
}

const SCOPE: &str = "logweir";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names of attributes, as the semantic conventions and the collector's file receiver have them.
const PATH: &str = "log.file.path";
const OFFSET: &str = "log.file.record_offset";
const TRUNCATED: &str = "log.truncated";
const IOSTREAM: &str = "log.iostream";

impl Logs {
    pub(super) fn new(options: &Otlp, host: &str) -> Self {
        Self {
            options: options.clone(),
            host: host.to_owned(),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, pieces: &[Piece]) {
        let resources = self.resources(pieces);
        match self.options.encoding {
            OtlpEncoding::Protobuf => protobuf::append(out, &resources),
            OtlpEncoding::Json => json::append(out, &resources),
        }
    }

    fn resources<'a>(&'a self, pieces: &'a [Piece<'a>]) -> Vec<Resource<'a>> {
        let mut resources: Vec<Resource> = Vec::new();
        for piece in pieces {
            let attributes = self.attributes(piece);
            match resources.iter_mut().find(|it| it.attributes == attributes) {
                Some(resource) => resource.pieces.push(piece),
                None => resources.push(Resource {
                    attributes,
                    pieces: vec![piece],
                }),
            }
        }
        resources
    }

    /// Names are unique: what is configured wins over what is known.
    fn attributes<'a>(&'a self, piece: &'a Piece<'a>) -> Vec<(&'a str, &'a str)> {
        let configured = self.options.resource.iter();
        let mut attributes: Vec<(&str, &str)> = configured
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let labels = piece.origin.labels.iter();
        let labels = labels.map(|(name, value)| (&**name, &**value));
        let known = [
            ("service.name", &*piece.origin.source),
            ("host.name", self.host.as_str()),
            ("log.source", &*piece.origin.source),
        ];
        for (name, value) in labels.chain(known) {
            if !attributes.iter().any(|(taken, _)| *taken == name) {
                attributes.push((name, value));
            }
        }
        attributes
    }
}
