//! Connections that are dead and do not know it: the cable is pulled, nobody says goodbye.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use super::peer::python;
use super::records;
use crate::files::namespace::allowed;
use crate::support::{Dir, Logweir, PATIENCE, has_tool, within};

/// INTERFACE: half-open links are found within 60 s.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// What the server listens on; the first is left alone the longest.
const PORTS: [u16; 3] = [8000, 8001, 8002];

/// Two networks with a cable between them: the server's and logweir's. The server ends with logweir.
const SET_UP: &str = r#"
exec unshare -rn sh -ec '
python=$1 script=$2 dir=$3
shift 3
ip link set lo up
unshare -n setpriv --pdeathsig KILL "$python" "$script" &
server=$!
while [ "$(readlink /proc/$server/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add near type veth peer name far
ip link set far netns $server
ip addr add 10.255.0.1/24 dev near
ip link set near up
nsenter -t $server -n sh -ec "ip link set lo up
  ip addr add 10.255.0.2/24 dev far
  ip link set far up"
echo $server >"$dir/server"
exec "$@"' sh "$PYTHON" "$SCRIPT" "$DIR" "$@"
"#;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/net/ticks.py");

/// Runs `ip ARGS…` where the server is.
#[track_caller]
fn ip_at_server(dir: &Dir, args: &str) {
    let server = String::from_utf8(dir.read("server")).expect("a number");
    let entered = [
        "-U",
        "--preserve-credentials",
        "-n",
        "-t",
        server.trim(),
        "ip",
    ];
    let status = Command::new("nsenter")
        .args(entered)
        .args(args.split(' '))
        .status();
    assert!(status.expect("runs nsenter").success(), "ip {args}");
}

/// How many lines arrived of each source.
fn arrived(dir: &Dir) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for record in records(&dir.read("out.log")) {
        let source = record["_source"].as_str().expect("a source").to_owned();
        *all.entry(source).or_default() += 1;
    }
    all
}

/// Waits until more lines of these sources arrived than there are now.
#[track_caller]
fn wait_for(dir: &Dir, sources: &[&str]) {
    let before = arrived(dir);
    within("lines of every source", 2 * PATIENCE, || {
        let arrived = arrived(dir);
        let more = |name: &&str| arrived.get(*name) > before.get(*name);
        sources.iter().all(more).then_some(())
    });
}

/// Nothing that the server says from this port comes through any more.
#[track_caller]
fn pull(dir: &Dir, port: u16) {
    ip_at_server(dir, &format!("rule add pref {port} sport {port} blackhole"));
}

/// It comes through again.
#[track_caller]
fn plug_in(dir: &Dir, port: u16) {
    ip_at_server(dir, &format!("rule del pref {port}"));
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_noticed_and_made_again() {
    let test = "half-open connections";
    if !has_tool(test, "ip") || !allowed(test, &["unshare", "-rn"], "ip link add a0 type veth") {
        return;
    }
    let Some(python) = python(test) else {
        return;
    };
    let dir = Dir::new();
    let config = dir.config(
        r#"
        [source.kept]
        url = "http://10.255.0.2:8000/lines"
        connect_timeout = "1s"

        [source.idle]
        url = "http://10.255.0.2:8001/lines"
        connect_timeout = "1s"
        idle = "2s"

        [source.socket]
        url = "ws://10.255.0.2:8002/"
        connect_timeout = "1s"
        ping = "1s"
        dead_after = "2s"

        [source.api]
        type = "poll"
        url = "http://10.255.0.2:8001/page"
        interval = "50ms"
        timeout = "2s"

        [sink]
        archive = "{dir}/out.log"
        "#,
    );
    let config = config.to_str().expect("temporary paths are UTF-8");
    let agent = Logweir::shell(&dir, SET_UP, ["run", "-c", config])
        .env("PYTHON", python)
        .env("SCRIPT", SCRIPT)
        .env("DIR", &dir.text(""))
        .start();
    wait_for(&dir, &["kept", "idle", "socket", "api"]);

    // Nothing that the server sends comes through any more, no answer to a probe either.
    let cut = Instant::now();
    PORTS.iter().for_each(|port| pull(&dir, *port));
    let found = |cause: &str| {
        within(cause, FOUND_WITHIN, || {
            agent.said().contains(cause).then_some(cut.elapsed())
        })
    };
    let idle = found("cause=\"no data\"");
    let socket = found("cause=\"no sign of life for 2s\"");
    let api = found("no answer within 2s");
    PORTS[1..].iter().for_each(|port| plug_in(&dir, *port));
    wait_for(&dir, &["idle", "socket", "api"]);
    let kept = found("source=\"kept\" cause=\"connection lost: ");
    plug_in(&dir, PORTS[0]);
    wait_for(&dir, &["kept", "idle", "socket", "api"]);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    eprintln!(
        "noticed after: TCP keep-alive {kept:?}, idle = 2s {idle:?}, WebSocket {socket:?}, poll {api:?}"
    );
    assert!(kept < FOUND_WITHIN, "{kept:?}");
    // Where the user says so, it is found sooner.
    for (what, found) in [("idle", idle), ("socket", socket), ("api", api)] {
        assert!(found < PATIENCE, "{what}: {found:?}");
    }
}
