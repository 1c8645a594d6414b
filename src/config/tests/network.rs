//! The keys of sources over the network.

use super::*;
use crate::http::Proxy;
use crate::secret::Secret;
use crate::source::health::Emit;
use crate::source::poll::{CursorRule, NextRule, SentAs};
use crate::source::spool::{Full, SpoolConfig};
use crate::source::stream::Framing;

#[test]
fn every_key_of_a_network_source_arrives() {
    let result = load_text(include_str!("../../../fixtures/config/good/network.toml"));

    let (config, _) = result.unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));
    let kind = |name: &str| {
        let mut sources = config.sources.iter();
        &sources.find(|it| &*it.name == name).unwrap().kind
    };
    let SourceKind::Stream(forced) = kind("forced") else {
        panic!("a stream")
    };
    assert_eq!(forced.framing, Framing::Lines);
    assert_eq!(forced.url, "https://orders.internal/logs");
    let SourceKind::Stream(billing) = kind("billing") else {
        panic!("a stream")
    };
    assert_eq!(billing.url, "https://billing.internal/logs?tenant=a");
    assert_eq!(billing.framing, Framing::Auto);
    assert_eq!(billing.idle, Some(Duration::from_secs(90)));
    assert_eq!(billing.network.connect_timeout, Duration::from_secs(2));
    assert_eq!(
        billing.network.credentials.headers[1].1.expose(),
        "Bearer t0p-s3cret"
    );
    let tls = &billing.network.tls;
    assert!(tls.ca.is_some() && tls.cert.is_some() && tls.key.is_some());
    let SourceKind::WebSocket(push) = kind("push") else {
        panic!("a WebSocket")
    };
    assert_eq!(
        push.network.credentials.basic.as_ref().unwrap().0,
        "logweir"
    );
    assert_eq!(push.send[1].expose(), "f1le-s3cret");
    assert_eq!(push.subprotocols, ["logs.v1", "logs.v0"]);
    assert_eq!(push.ping, Duration::from_secs(5));
    assert_eq!(push.dead_after, Duration::from_secs(15));
    assert_eq!(push.message_bytes_max, Some(4 << 20));
    assert!(matches!(kind("events"), SourceKind::WebSocket(_)));
    for name in ["in", "pipe"] {
        assert!(matches!(kind(name), SourceKind::Stdin(_)), "{name}");
    }
    let SourceKind::Stream(pods) = kind("pods") else {
        panic!("a stream")
    };
    let resume = pods.resume.as_ref().unwrap();
    assert_eq!(
        (&*resume.param, &resume.from),
        ("sinceTime", &TimeFrom::Leading)
    );
    assert_eq!(pods.network.proxy, Proxy::Off);
    let oauth2 = pods.network.credentials.oauth2.as_ref().unwrap();
    assert_eq!(oauth2.client_secret.expose(), "cr3d-s3cret");
    assert_eq!(oauth2.scope.as_deref(), Some("logs"));
}

#[test]
fn spools_are_for_what_asks_for_them() {
    let result = load_text(include_str!("../../../fixtures/config/good/network.toml"));

    let (config, _) = result.unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));
    let spooled = config.sources.iter();
    let spooled = spooled.filter_map(|it| Some((&*it.name, it.spool?)));
    let spool = |max_bytes, full| SpoolConfig { max_bytes, full };
    let expected = [
        ("pods", spool(2 << 30, Full::DropOldest)),
        ("pipe", spool(16 << 20, Full::Block)),
    ];
    assert_eq!(spooled.collect::<Vec<_>>(), expected);
}

#[test]
fn every_key_of_a_source_that_asks_arrives() {
    let result = load_text(include_str!("../../../fixtures/config/good/network.toml"));

    let (config, _) = result.unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));
    let kind = |name: &str| {
        let mut sources = config.sources.iter();
        &sources.find(|it| &*it.name == name).unwrap().kind
    };
    let seconds = Duration::from_secs;
    let SourceKind::Poll(api) = kind("api") else {
        panic!("an API")
    };
    let urls: Vec<&str> = api.urls.iter().map(Secret::expose).collect();
    let expected = [
        "https://a.internal/logs?key=s3cret",
        "https://b.internal/logs",
    ];
    assert_eq!(urls, expected);
    assert_eq!((api.interval, api.timeout), (seconds(10), seconds(5)));
    assert_eq!((api.concurrency, api.pages_max), (500, 10));
    assert_eq!(api.method, "POST");
    assert_eq!(
        api.body.as_ref().unwrap().expose(),
        "{\"query\":\"s3cret\"}"
    );
    assert_eq!(Some(&api.records), Pointer::new("/items").as_ref());
    let cursor = CursorRule {
        from: Pointer::new("/items/-1/id").unwrap(),
        sent_as: SentAs::Header("x-since".parse().unwrap()),
        start: Some("0".to_owned()),
    };
    assert_eq!(api.cursor, Some(cursor));
    let next = NextRule::At {
        from: Pointer::new("/next").unwrap(),
        param: Some("page_token".to_owned()),
    };
    assert_eq!(api.next, Some(next));
    assert_eq!(api.dedupe, Pointer::new("/id"));
    assert_eq!(api.body_bytes_max, 1 << 20);
    let SourceKind::Poll(listed) = kind("listed") else {
        panic!("APIs")
    };
    assert_eq!(listed.urls[1].expose(), "https://c.internal/b");
    assert_eq!(
        (listed.urls.len(), &listed.next),
        (2, &Some(NextRule::Link))
    );
    let SourceKind::Health(services) = kind("services") else {
        panic!("services")
    };
    assert_eq!(services.urls.len(), 2);
    assert_eq!(
        (services.interval, services.timeout),
        (seconds(10), seconds(1))
    );
    assert_eq!((services.concurrency, services.emit), (5, Emit::All));
    assert_eq!(services.method, "HEAD");
    assert_eq!(services.expect, [200..=299, 401..=401, 403..=403]);
    assert_eq!(services.body_match, Pattern::new("up|ok").ok());
    let SourceKind::Range(remote) = kind("remote") else {
        panic!("a remote file")
    };
    assert_eq!(remote.url, "https://files.internal/app.log");
    assert_eq!(remote.interval, seconds(5));
}
