//! Just enough HTTP/1.1 for a collector: reads requests, writes answers, knows no policy.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use flate2::read::MultiGzDecoder;

/// One request as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// For example `POST`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Without transfer and content coding; empty where only the head was read.
    pub(crate) body: Vec<u8>,
    /// Length of the body on the wire, without chunk framing.
    pub(crate) wire_bytes: usize,
    /// When its head was read.
    pub(crate) at: Instant,
    /// Counts the connections of a collector from 0.
    pub(crate) connection: usize,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The `Idempotency-Key`, empty where there is none.
    pub(crate) fn key(&self) -> &str {
        self.header("idempotency-key").unwrap_or_default()
    }
}

/// How the bytes of a body are taken from the socket; called with the number of bytes so far,
/// before each read, it says how many may be read next.
pub(crate) type Pace<'a> = dyn FnMut(usize) -> io::Result<usize> + 'a;

/// Reads a request's head; `None` where the client closed the connection between requests.
pub(crate) fn read_head(
    stream: &mut BufReader<TcpStream>,
    connection: usize,
) -> io::Result<Option<Request>> {
    const HEAD_BYTES_MAX: usize = 64 << 10;
    let mut bytes = 0;
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return if lines.is_empty() {
                Ok(None)
            } else {
                Err(torn("head"))
            };
        }
        bytes += line.len();
        if bytes > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head over 64 KiB"));
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let at = Instant::now();
    let first = lines.first().ok_or_else(|| torn("request line"))?;
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().ok_or_else(|| torn("request line"))?.to_owned();
    let header = |line: &String| {
        let (name, value) = line.split_once(':').ok_or_else(|| torn("header"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines[1..].iter().map(header).collect::<io::Result<_>>()?;
    let body = Vec::new();
    Ok(Some(Request {
        method,
        target,
        headers,
        body,
        wire_bytes: 0,
        at,
        connection,
    }))
}

/// Reads the body that `request`'s head announces, at `pace`, and takes its codings off.
pub(crate) fn read_body(
    stream: &mut BufReader<TcpStream>,
    request: &mut Request,
    pace: &mut Pace<'_>,
) -> io::Result<()> {
    if request
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    let chunked = request
        .header("transfer-encoding")
        .is_some_and(|value| value == "chunked");
    if chunked {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = size
                .trim_end()
                .split(';')
                .next()
                .unwrap_or_default()
                .to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| torn("chunk size"))?;
            read_part(stream, &mut body, size, pace)?;
            let mut end = String::new();
            stream.read_line(&mut end)?;
            if size == 0 {
                break;
            }
        }
    } else {
        let size = request.header("content-length").map_or(Ok(0), str::parse);
        read_part(stream, &mut body, size.map_err(|_| torn("length"))?, pace)?;
    }
    request.wire_bytes = body.len();
    request.body = match request.header("content-encoding") {
        Some("gzip") => {
            let mut plain = Vec::new();
            MultiGzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
            plain
        }
        Some("zstd") => zstd::stream::decode_all(body.as_slice())?,
        Some(other) => return Err(io::Error::other(format!("content-encoding {other}"))),
        None => body,
    };
    Ok(())
}

fn read_part(
    stream: &mut BufReader<TcpStream>,
    body: &mut Vec<u8>,
    size: usize,
    pace: &mut Pace<'_>,
) -> io::Result<()> {
    let end = body.len() + size;
    while body.len() < end {
        let step = pace(body.len())?.clamp(1, end - body.len());
        let from = body.len();
        body.resize(from + step, 0);
        stream.read_exact(&mut body[from..])?;
    }
    Ok(())
}

/// Renders the head of an answer with `Content-Length`.
pub(crate) fn head(status: u16, headers: &[(String, String)], body_bytes: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {body_bytes}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Renders a whole answer in chunks of seven bytes.
pub(crate) fn chunked(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Scripted\r\nTransfer-Encoding: chunked\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    for chunk in body.chunks(7) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn torn(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a torn or foreign {what}"),
    )
}
