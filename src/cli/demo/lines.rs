//! Log lines as such services write them. Pure: no I/O, no clock.

/// Chance from a seed (splitmix64): the demo needs variety, not surprise.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `low` to `high`, both included.
    fn of(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True in `percent` of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.of(1, 100) <= percent
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.of(0, words.len() as u64 - 1) as usize]
    }

    /// Milliseconds: mostly few, sometimes many.
    fn millis(&mut self) -> u64 {
        let high = if self.chance(6) { 900 } else { 45 };
        self.of(3, high)
    }

    fn cents(&mut self) -> String {
        format!("{}.{:02}", self.of(3, 240), self.of(0, 99))
    }

    fn address(&mut self) -> String {
        format!(
            "10.{}.{}.{}",
            self.of(0, 3),
            self.of(0, 255),
            self.of(2, 254)
        )
    }
}

const USERS: [&str; 8] = [
    "mara", "jonas", "aiko", "samir", "elena", "tom", "priya", "luis",
];
const QUERIES: [&str; 8] = [
    "running shoes",
    "rain jacket",
    "usb-c cable",
    "desk lamp",
    "green tea",
    "yoga mat",
    "coffee grinder",
    "wool socks",
];
const PAGES: [&str; 7] = [
    "/",
    "/cart",
    "/checkout",
    "/products/4711",
    "/products/1042",
    "/account",
    "/help",
];
const HOSTS: [&str; 3] = ["checkout-1", "checkout-2", "search-1"];
const TRACES: [&str; 2] = [
    "java.net.SocketTimeoutException: read timed out after 5000 ms
\tat com.acme.ship.CarrierClient.label(CarrierClient.java:88)
\tat com.acme.ship.LabelJob.run(LabelJob.java:41)
\tat java.base/java.lang.Thread.run(Thread.java:1583)",
    "java.lang.IllegalStateException: parcel has no address
\tat com.acme.ship.Parcel.address(Parcel.java:57)
\tat com.acme.ship.LabelJob.run(LabelJob.java:36)
\tat java.base/java.lang.Thread.run(Thread.java:1583)",
];

/// NDJSON of a shop.
pub(super) fn orders(dice: &mut Dice, n: u64) -> String {
    let order = 48_200 + n;
    match dice.of(1, 24) {
        1 => {
            let reason = dice.pick(&["card expired", "insufficient funds", "3-D Secure failed"]);
            format!(
                r#"{{"level":"ERROR","msg":"payment declined","order":{order},"reason":"{reason}"}}"#
            )
        }
        2 | 3 => {
            let (item, left) = (dice.of(1000, 4999), dice.of(1, 4));
            format!(r#"{{"level":"WARN","msg":"stock is low","item":{item},"left":{left}}}"#)
        }
        4..=9 => {
            let (parcels, ms) = (dice.of(1, 3), dice.millis());
            format!(
                r#"{{"level":"INFO","msg":"order shipped","order":{order},"parcels":{parcels},"ms":{ms}}}"#
            )
        }
        _ => {
            let (items, total, ms) = (dice.of(1, 7), dice.cents(), dice.millis());
            format!(
                r#"{{"level":"INFO","msg":"order placed","order":{order},"items":{items},"total":{total},"ms":{ms}}}"#
            )
        }
    }
}

/// Plain lines, few.
pub(super) fn billing(dice: &mut Dice, n: u64) -> String {
    let invoice = format!("2026-{:05}", 10_400 + n);
    match dice.of(1, 8) {
        1 => format!("ERROR invoice {invoice}: the bank answered 503, next attempt in 15 minutes"),
        2 => format!("WARN  invoice {invoice} is {} days overdue", dice.of(1, 30)),
        3 => format!(
            "INFO  run finished: {} invoices, {} EUR",
            dice.of(20, 90),
            dice.cents()
        ),
        _ => format!(
            "INFO  invoice {invoice} paid by {}, {} EUR",
            dice.pick(&USERS),
            dice.cents()
        ),
    }
}

/// logfmt of a login service.
pub(super) fn auth(dice: &mut Dice, _n: u64) -> String {
    let (user, ip, ms) = (dice.pick(&USERS), dice.address(), dice.millis());
    match dice.of(1, 16) {
        1 => format!(
            r#"level=error msg="account locked" user={user} ip={ip} failures={}"#,
            dice.of(5, 9)
        ),
        2 | 3 => format!(
            r#"level=warn msg="wrong password" user={user} ip={ip} failures={}"#,
            dice.of(1, 4)
        ),
        4..=8 => format!(r#"level=info msg="token refreshed" user={user} ms={ms}"#),
        _ => {
            let method = dice.pick(&["password", "passkey", "sso"]);
            format!("level=info msg=login user={user} ip={ip} method={method} ms={ms}")
        }
    }
}

/// Lines of a search engine, numbered: with server-sent events none of them is ever missed.
pub(super) fn search(dice: &mut Dice, n: u64) -> String {
    let (query, hits, ms) = (dice.pick(&QUERIES), dice.of(0, 2400), dice.millis());
    let level = if ms > 400 { "WARN  slow " } else { "INFO  " };
    format!("{level}query #{n} \"{query}\": {hits} hits in {ms} ms")
}

/// The access log of a gateway.
pub(super) fn gateway(dice: &mut Dice, n: u64) -> String {
    let (ip, page, bytes, ms) = (
        dice.address(),
        dice.pick(&PAGES),
        dice.of(180, 9_400),
        dice.millis(),
    );
    let (method, path, status) = match dice.of(1, 20) {
        1 => ("GET", page.to_owned(), 502),
        2 => ("GET", "/favicon.ico".to_owned(), 404),
        3..=8 => ("POST", format!("/api/orders/{}", 48_200 + n), 201),
        _ => ("GET", page.to_owned(), 200),
    };
    format!("{ip} \"{method} {path} HTTP/1.1\" {status} {bytes} {ms}ms")
}

/// JSON messages of a shop's pages.
pub(super) fn events(dice: &mut Dice, _n: u64) -> String {
    let session = format!("{:06x}", dice.of(0, 0xff_ffff));
    let page = dice.pick(&PAGES);
    match dice.of(1, 12) {
        1 => {
            let (ms, level) = (dice.of(1_200, 6_000), "WARN");
            format!(
                r#"{{"event":"slow_page","level":"{level}","session":"{session}","page":"{page}","ms":{ms}}}"#
            )
        }
        2..=4 => {
            let item = dice.of(1000, 4999);
            format!(
                r#"{{"event":"add_to_cart","level":"INFO","session":"{session}","item":{item}}}"#
            )
        }
        _ => format!(
            r#"{{"event":"page_view","level":"INFO","session":"{session}","page":"{page}"}}"#
        ),
    }
}

/// What machines say about themselves, often.
pub(super) fn metrics(dice: &mut Dice, _n: u64) -> String {
    let (host, cpu) = (dice.pick(&HOSTS), dice.of(4, 97));
    let (mem, rps, p99) = (dice.of(380, 790), dice.of(40, 900), dice.millis());
    format!("{host} cpu={cpu}% mem={mem}MiB rps={rps} p99={p99}ms")
}

/// The log of a job runner, with a stack trace now and then.
pub(super) fn app(dice: &mut Dice, n: u64) -> String {
    let (worker, job, ms) = (dice.of(1, 4), 8_100 + n, dice.millis());
    match dice.of(1, 14) {
        1 => {
            let trace = dice.pick(&TRACES);
            format!("ERROR [worker-{worker}] LabelJob - job {job} failed\n{trace}")
        }
        2 | 3 => format!("WARN  [worker-{worker}] LabelJob - job {job} is tried again"),
        _ => format!("INFO  [worker-{worker}] LabelJob - job {job} done in {ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_services_write_json() {
        for line in [orders, events] {
            for n in 0..500 {
                let line = line(&mut Dice::new(n), n);

                let parsed = serde_json::from_str::<serde_json::Value>(&line);

                assert!(parsed.is_ok_and(|it| it.is_object()), "{line}");
            }
        }
    }

    #[test]
    fn lines_are_short_and_only_the_app_has_traces() {
        for line in [orders, billing, auth, search, gateway, events, metrics, app] {
            for n in 0..500 {
                let text = line(&mut Dice::new(n), n);

                assert!(text.lines().all(|row| row.len() <= 100), "{text}");
                assert!(!text.contains('\n') || text.contains("com.acme"), "{text}");
            }
        }
    }
}
