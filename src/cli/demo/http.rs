//! HTTP services that stream their log for as long as they are listened to.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::feed::Feed;

/// One service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub name: &'static str,
    pub shape: Shape,
    pub content_type: &'static str,
    /// How long a connection lives, the first at least; `None`: for ever.
    pub cut_after: Option<Duration>,
}

/// Each connection lives twice as long as the one before it, up to this: long enough not to pass
/// for a server that always hangs up.
const CUT_AFTER_MAX: Duration = Duration::from_secs(12);

/// What stands around a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A newline after it.
    Lines,
    /// A server-sent event with its number as id; what came after `Last-Event-ID` is sent first.
    Events,
}

/// Ends a connection in the middle of its response, as a crash would.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, service: Service, feed: Feed) {
    let mut next = service;
    super::accept(listener, |socket| {
        let service = next;
        next.cut_after = next.cut_after.map(|it| (2 * it).min(CUT_AFTER_MAX));
        answer(socket, service, feed.clone())
    })
    .await;
}

async fn answer(socket: TcpStream, service: Service, feed: Feed) {
    let respond = service_fn(|request| {
        let response = response(&request, service, feed.clone());
        async { Ok::<_, Infallible>(response) }
    });
    // An `Err` is a reader that went away, or our own cut.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), respond)
        .await;
}

fn response(
    request: &Request<Incoming>,
    service: Service,
    feed: Feed,
) -> Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, Cut>> + use<>>> {
    let last = request.headers().get("last-event-id");
    let last: Option<u64> = last
        .filter(|_| service.shape == Shape::Events)
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let first = last.map_or_else(|| feed.now(), |last| last + 1);
    let cut_at = service.cut_after.map(|after| Instant::now() + after);
    let body = futures::stream::unfold(first, move |n| {
        let feed = feed.clone();
        async move {
            let line = match cut_at {
                Some(at) => timeout_at(at, feed.line(n)).await,
                None => Ok(feed.line(n).await),
            };
            let frame = line.map(|line| Frame::data(shaped(service.shape, n, &line).into()));
            Some((frame.map_err(|_elapsed| Cut), n + 1))
        }
    });
    let mut response = Response::new(StreamBody::new(body));
    let content_type = HeaderValue::from_static(service.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn shaped(shape: Shape, n: u64, line: &str) -> String {
    match shape {
        Shape::Lines => format!("{line}\n"),
        Shape::Events => format!("id: {n}\ndata: {line}\n\n"),
    }
}
