//! Lines to bodies, in bytes of input per second.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use logweir::encoding::{
    Compression, Compressor, Elasticsearch, Encoder, Format, Loki, Meta, Otlp, OtlpEncoding, Piece,
    Splunk, Text, escape,
};
use logweir::model::{Lines, Origin, StreamKey};

const CHUNK_BYTES: usize = 256 * 1024;
const TIME_NS: i64 = 1_795_371_948_123_456_789;

const CLEAN: &str = "2026-11-22T18:25:48.123Z INFO  http.server request completed method=GET \
    path=/api/v1/orders/12345 status=200 bytes=5120 duration_ms=12 peer=10.1.2.3:51234 \
    trace=4bf92f3577b34da6a3ce929d0e0e";
const QUOTED: &str = "10.1.2.3 - - [22/Nov/2026:18:25:48 +0000] \"GET /api/v1/orders/12345?q=a HTTP/1.1\" \
    200 5120 \"https://shop.example.com/orders/list/page\" \"Mozilla/5.0 (X11; Linux x86_64) \
    Chrome/131.0\" 0.012 upstream";
const OBJECT: &str = r#"{"level":30,"time":1795390634778,"pid":5899,"service":"web","version":"2.4.1","module":"http","req":{"id":"r-0","method":"POST","url":"/items/0?q=a%20b"},"res":{"statusCode":404},"responseTime":136.904,"tags":["a","b",0],"cached":true,"msg":"request completed"}"#;

fn lines(line: &str) -> Lines {
    let text = format!("{line}\n");
    let count = CHUNK_BYTES / text.len();
    Lines::untouched(
        Bytes::from(text.repeat(count)),
        u32::try_from(count).expect("a chunk holds few lines"),
        1_000_000,
    )
}

fn origin() -> Origin {
    Origin {
        source: "orders".into(),
        stream: StreamKey::new("0123456789abcdef"),
        path: Some("/var/log/orders/service.log".into()),
        labels: Arc::new([
            ("env".into(), "prod".into()),
            ("zone".into(), "eu-1a".into()),
        ]),
    }
}

/// JSON with all that an HTTP sink adds.
fn json() -> Format {
    Format::json(Meta {
        host: true,
        file: true,
        offset: true,
        labels: true,
    })
}

fn piece<'a>(origin: &'a Origin, lines: &Lines) -> Piece<'a> {
    Piece {
        origin,
        time_ns: TIME_NS,
        lines: lines.clone(),
        is_replayable: true,
    }
}

fn formats(c: &mut Criterion) {
    let text = Format::Text(Text {
        color: true,
        ..Text::default()
    });
    let otlp = |encoding| {
        Format::Otlp(Otlp {
            encoding,
            ..Otlp::default()
        })
    };
    let index = Some("logs-app-default".to_owned());
    let cases = [
        ("json/text", json(), CLEAN),
        ("json/quoted", json(), QUOTED),
        ("json/object", json(), OBJECT),
        ("json/short", json(), "GET / 200"),
        ("json/bare", Format::json(Meta::default()), CLEAN),
        (
            "elasticsearch/text",
            Format::Elasticsearch(Elasticsearch {
                index: index.clone(),
            }),
            CLEAN,
        ),
        (
            "elasticsearch/object",
            Format::Elasticsearch(Elasticsearch { index }),
            OBJECT,
        ),
        ("loki", Format::Loki(Loki::default()), CLEAN),
        ("otlp/protobuf", otlp(OtlpEncoding::Protobuf), CLEAN),
        ("otlp/json", otlp(OtlpEncoding::Json), CLEAN),
        ("splunk", Format::Splunk(Splunk::default()), CLEAN),
        ("datadog", Format::Datadog, CLEAN),
        ("raw", Format::Raw, CLEAN),
        ("text", text, CLEAN),
    ];
    let mut group = c.benchmark_group("encode");
    for (name, format, line) in cases {
        let encoder = Encoder::new(&format, "host-1.example.com", TimeZone::UTC);
        let (lines, origin, mut out) = (lines(line), origin(), Vec::new());
        group.throughput(Throughput::Bytes(lines.bytes().len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encoder.append(&mut out, &[piece(&origin, &lines)]);
                out.len()
            });
        });
    }
    group.finish();
}

fn strings(c: &mut Criterion) {
    let mut group = c.benchmark_group("escape");
    for (name, line) in [("clean", CLEAN), ("quoted", QUOTED)] {
        let (lines, mut out) = (lines(line), Vec::with_capacity(2 * CHUNK_BYTES));
        group.throughput(Throughput::Bytes(lines.bytes().len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                lines
                    .iter()
                    .for_each(|line| escape::escape(&mut out, line.text));
                out.len()
            });
        });
    }
    group.finish();
}

fn bodies(c: &mut Criterion) {
    let encoder = Encoder::new(&json(), "host-1.example.com", TimeZone::UTC);
    let mut body = Vec::new();
    for line in [CLEAN, QUOTED, OBJECT] {
        encoder.append(&mut body, &[piece(&origin(), &lines(line))]);
    }
    let body = Bytes::from(body);
    let mut group = c.benchmark_group("compress");
    group.throughput(Throughput::Bytes(body.len() as u64));
    for (name, how) in [
        ("gzip:2", Compression::Gzip(2)),
        ("zstd:1", Compression::Zstd(1)),
    ] {
        let compressor = Compressor::new(how);
        group.bench_function(name, |b| b.iter(|| compressor.compress(vec![body.clone()])));
    }
    group.finish();
}

criterion_group!(benches, formats, strings, bodies);
criterion_main!(benches);
