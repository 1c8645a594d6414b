//! Checks over real sockets.

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::checkpoint::Checkpoints;
use crate::source::SourceKind;
use crate::source::testing::{Seen, accept, beside, listen, source, within, write};
use crate::telemetry::FailureKind;

fn checked(config: HealthConfig) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    let kind = SourceKind::Health(Box::new(config));
    source(kind, 1 << 20, Checkpoints::none())
}

fn at(addresses: &[&str]) -> HealthConfig {
    let url = |address: &&str| Secret::new(format!("http://{address}/health?key=s3cret"));
    HealthConfig {
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        ..HealthConfig::of_urls(addresses.iter().map(url).collect())
    }
}

async fn answer(listener: &TcpListener, status: &str, body: &str) {
    let (mut server, _) = accept(listener).await;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    write(&mut server, [&head, body].concat()).await;
}

async fn outcome(seen: &mut Seen) -> Value {
    let line = seen.lines(1).await.remove(0);
    let mut value: Value = serde_json::from_str(&line).unwrap();
    let took = value["latency_ms"].take();
    assert!(took.as_f64().is_some_and(|it| it > 0.0), "{line}");
    value
}

#[tokio::test]
async fn a_line_comes_first_and_with_each_change() {
    let (listener, address) = listen().await;
    let (source, mut seen) = checked(at(&[&address]));

    beside(source, async {
        for status in ["200 OK", "204 No Content", "302 Found"] {
            answer(&listener, status, "").await;
        }
        for status in [
            "503 Service Unavailable",
            "500 Internal Server Error",
            "200 OK",
        ] {
            answer(&listener, status, "").await;
        }
        let url = format!("http://{address}/health");
        let line = |healthy: bool, status: u16, error: Value| {
            serde_json::json!({
                "url": url, "healthy": healthy, "status": status, "latency_ms": null,
                "error": error, "tls_days": null,
            })
        };
        assert_eq!(outcome(&mut seen).await, line(true, 200, Value::Null));
        let error = "HTTP 503 Service Unavailable".into();
        assert_eq!(outcome(&mut seen).await, line(false, 503, error));
        assert_eq!(outcome(&mut seen).await, line(true, 200, Value::Null));
    })
    .await;
    let targets = seen.counters.targets.get().unwrap();
    assert_eq!(targets[0].name(), format!("{address}/health"));
    assert_eq!((targets[0].checks.get(), targets[0].failures()), (6, 2));
    assert_eq!(targets[0].failures_of(FailureKind::Status), 2);
    assert_eq!(targets[0].is_healthy(), Some(true));
    assert_eq!(seen.first_attempt.await, Ok(Ok(())));
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_is_no_failure() {
    let (listener, address) = listen().await;
    let (source, mut seen) = checked(HealthConfig {
        emit: Emit::All,
        ..at(&[&address])
    });
    let good = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    beside(source, async {
        for _ in 0..3 {
            let (mut server, _) = accept(&listener).await;
            write(&mut server, good).await;
            assert_eq!(outcome(&mut seen).await["healthy"], true);
            // The next question comes over the same connection, and is not answered.
            within(server.read_u8()).await.unwrap();
            drop(server);
        }
        let (mut server, _) = accept(&listener).await;
        write(&mut server, good).await;
        assert_eq!(outcome(&mut seen).await["healthy"], true);
    })
    .await;
    let targets = seen.counters.targets.get().unwrap();
    assert_eq!(targets[0].failures(), 0);
}

#[tokio::test]
async fn statuses_and_bodies_are_as_expected_or_said() {
    let (listener, address) = listen().await;
    let (source, mut seen) = checked(HealthConfig {
        expect: vec![200..=200, 418..=418],
        body_match: Some(Pattern::new("\"status\":\\s*\"up\"").unwrap()),
        emit: Emit::All,
        ..at(&[&address])
    });

    beside(source, async {
        answer(&listener, "418 I'm a teapot", "{\"status\": \"up\"}").await;
        assert_eq!(outcome(&mut seen).await["healthy"], true);
        answer(&listener, "200 OK", "{\"status\": \"down\"}").await;
        let error = outcome(&mut seen).await["error"].take();
        assert_eq!(error, "the body does not match body_match");
        answer(&listener, "204 No Content", "").await;
        assert_eq!(outcome(&mut seen).await["error"], "HTTP 204 No Content");
    })
    .await;
}

#[tokio::test]
async fn a_service_that_hangs_or_refuses_is_said_and_harms_no_other() {
    let (hanging, hanging_address) = listen().await;
    let (good, good_address) = listen().await;
    let (source, mut seen) = checked(HealthConfig {
        timeout: Duration::from_millis(100),
        ..at(&[&hanging_address, "127.0.0.1:1", &good_address])
    });

    beside(source, async {
        let accepting = accept(&hanging);
        let (_hung, ()) = tokio::join!(accepting, answer(&good, "200 OK", ""));
        let mut lines = Vec::new();
        while lines.len() < 3 {
            lines.push(outcome(&mut seen).await);
        }
        let of = |address: &str| {
            let found = lines
                .iter()
                .find(|it| it["url"].as_str().unwrap().contains(address));
            found.unwrap()
        };
        assert_eq!(of(&good_address)["healthy"], true);
        assert_eq!(of(&hanging_address)["error"], "no answer within 100ms");
        let refused = of("127.0.0.1:1")["error"].as_str().unwrap();
        assert!(
            refused.starts_with("cannot connect to 127.0.0.1:")
                && refused.ends_with(": Connection refused"),
            "{refused}"
        );
    })
    .await;
}

#[test]
fn services_are_called_by_what_is_no_secret_of_their_urls() {
    let urls = [
        "https://u:p@a.internal/health?key=s3cret",
        "http://a.internal/health",
        "http://a.internal/health?key=other#x",
        "http://[::1]:8080",
    ];
    let urls: Vec<Url> = urls.iter().map(|it| Url::parse(it).unwrap()).collect();

    let names = target_names(&urls);

    let expected = [
        "a.internal:443/health",
        "a.internal:80/health",
        "a.internal:80/health#2",
        "[::1]:8080/",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_grid_does_not_drift() {
    let first = Instant::now();
    let interval = Duration::from_millis(100);
    let at = |ms: u64| first + Duration::from_millis(ms);

    assert_eq!(next_due(at(70), interval, at(0)), at(70));
    assert_eq!(next_due(at(0), interval, at(1)), at(100));
    assert_eq!(next_due(at(0), interval, at(100)), at(200));
    // A long check leaves times out.
    assert_eq!(next_due(at(0), interval, at(731)), at(800));
}

#[tokio::test]
async fn nobody_is_asked_while_nothing_can_be_sent() {
    let (listener, address) = listen().await;
    let (source, mut seen) = checked(HealthConfig {
        emit: Emit::All,
        interval: Duration::from_millis(1),
        ..at(&[&address])
    });

    beside(source, async {
        let asked = async {
            loop {
                let answered = tokio::time::timeout(
                    Duration::from_millis(500),
                    answer(&listener, "200 OK", ""),
                );
                if answered.await.is_err() {
                    break;
                }
            }
        };
        within(asked).await;
        let checks = seen.counters.targets.get().unwrap()[0].checks.get();
        let lines = tokio::join!(seen.lines(usize::try_from(checks).unwrap()), async {
            for _ in 0..10 {
                answer(&listener, "200 OK", "").await;
            }
        });
        assert!(lines.0.len() >= usize::try_from(checks).unwrap());
    })
    .await;
}
