//! APIs through a spool: many URLs in one, each of which goes on where its own last record says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::DRAIN;
use crate::support::{
    Answer, Collector, Dir, Logweir, PATIENCE, Request, ReservedPort, Settings, within,
};

/// An API that has records for ever, three at a time: `/NAME?since=ID` gives those behind it.
struct Api {
    port: u16,
    /// What was asked for, by name.
    asked: Arc<Mutex<HashMap<String, Vec<Option<u64>>>>>,
}

impl Api {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let api = Self {
            port,
            asked: Arc::default(),
        };
        let asked = Arc::clone(&api.asked);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, asked) = (socket.expect("accepts"), Arc::clone(&asked));
                thread::spawn(move || answer(&socket, &asked));
            }
        });
        api
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// What was asked for of one name, and forgets it.
    fn take_asked(&self, name: &str) -> Vec<Option<u64>> {
        let mut asked = self.asked.lock().expect("nobody panicked");
        asked.remove(name).unwrap_or_default()
    }
}

fn answer(mut socket: &TcpStream, asked: &Mutex<HashMap<String, Vec<Option<u64>>>>) -> Option<()> {
    let mut lines = BufReader::new(socket).lines();
    loop {
        let first = lines.next()?.ok()?;
        lines
            .find(|line| line.as_ref().is_ok_and(String::is_empty))?
            .ok()?;
        let path = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let (name, query) = path.split_once('?').unwrap_or((&path, ""));
        let since = query.strip_prefix("since=").and_then(|it| it.parse().ok());
        let mut all = asked.lock().expect("nobody panicked");
        all.entry(name.to_owned()).or_default().push(since);
        drop(all);
        let next = since.map_or(0, |it: u64| it + 1);
        let records = (next..next + 3).map(|id| format!(r#"{{"id":{id},"of":"{name}"}}"#));
        let body = format!("[{}]", records.collect::<Vec<_>>().join(","));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        socket.write_all([head, body].concat().as_bytes()).ok()?;
    }
}

/// The ids that arrived, by name.
#[track_caller]
fn arrived(collector: &Collector) -> HashMap<String, Vec<u64>> {
    let bytes = collector.stored_bytes();
    let text = std::str::from_utf8(&bytes).expect("text");
    let mut all: HashMap<String, Vec<u64>> = HashMap::new();
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        let name = record["of"].as_str().expect("a name").to_owned();
        let id = record["id"].as_u64().expect("an id");
        all.entry(name).or_default().push(id);
    }
    all
}

#[test]
fn each_url_of_a_spooled_api_goes_on_at_its_own_cursor() {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let dir = Dir::new();
    let api = Api::start();
    let port = ReservedPort::new();
    let urls: Vec<String> = NAMES
        .iter()
        .map(|name| format!("{:?}", api.url(name)))
        .collect();
    let config = dir.config(&format!(
        r#"
        [source.api]
        type = "poll"
        urls = [{}]
        interval = "20ms"
        cursor = {{ from = "/-1/id", param = "since" }}
        max_pages = 1
        max_line = "4KiB"
        spool = {{ max = "1MiB" }}

        [sink.collector]
        url = "{}"
        format = "raw"
        batch = {{ linger = "20ms" }}
        retry = {{ base = "50ms", max = "200ms" }}
        "#,
        urls.join(", "),
        port.url("/")
    ));
    // The collector is down, so the journal knows nothing of what was read.
    for round in 0..3 {
        let agent = Logweir::run(&dir, &config).start();
        let n_asked = |name: &str| {
            let asked = api.asked.lock().expect("nobody panicked");
            asked.get(name).map_or(0, Vec::len)
        };
        within("a few rounds of each", PATIENCE, || {
            NAMES.iter().all(|name| n_asked(name) >= 3).then_some(())
        });
        agent.kill();
        for name in NAMES {
            let asked = api.take_asked(name);
            // After a kill the first question is behind what is in the spool.
            assert_eq!(asked[0].is_none(), round == 0, "{name}: {asked:?}");
        }
    }
    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    let agent = Logweir::run(&dir, &config).start();
    within("records of each", DRAIN, || {
        let arrived = arrived(&collector);
        let has = |name: &&str| arrived.get(*name).is_some_and(|it| it.len() >= 30);
        NAMES.iter().all(has).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for (name, ids) in arrived(&collector) {
        let expected: Vec<u64> = (0..ids.len() as u64).collect();
        assert_eq!(ids, expected, "of {name}: missing, doubled or out of order");
    }
}
