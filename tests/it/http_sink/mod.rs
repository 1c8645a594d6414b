//! The http sink against every answer that a collector, a proxy or a broken network can give.

mod answers;
mod chaos;
mod connection;
mod credentials;
mod elastic;
mod formats;
mod front;
mod judges;
mod probe;
mod proxy;
mod refusals;
mod request;

use crate::support::{Agent, Collector, Dir, Logweir, Plan};

/// A sink under test: `app.log` to a collector, by a sink that is called `out`.
struct Trial {
    dir: Dir,
    agent: Agent,
    plan: Plan,
}

impl Trial {
    /// Writes 100 lines, then starts logweir with `keys` in the sink's table.
    fn start(url: &str, keys: &str) -> Self {
        let dir = Dir::new();
        let plan = Plan::new(dir.path("app.log"), 100);
        plan.write();
        Self::start_in(dir, plan, url, keys)
    }

    /// The same with lines of the test's own.
    fn start_with(lines: &str, url: &str, keys: &str) -> Self {
        let dir = Dir::new();
        let plan = Plan::new(dir.write("app.log", lines), 0);
        Self::start_in(dir, plan, url, keys)
    }

    fn start_in(dir: Dir, plan: Plan, url: &str, keys: &str) -> Self {
        // Keys of a test win over these.
        let defaults = [
            ("batch", r#"{ linger = "5ms" }"#),
            ("retry", r#"{ base = "10ms", max = "200ms" }"#),
        ];
        let is_set = |key: &str| keys.lines().any(|line| line.trim_start().starts_with(key));
        let defaults: String = defaults
            .iter()
            .filter(|(key, _)| !is_set(key))
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let config = dir.config(&format!(
            "[source.app]\npath = \"{{dir}}/app.log\"\n\n[sink.out]\nurl = \"{url}\"\n{defaults}{keys}\n"
        ));
        let agent = Logweir::run(&dir, &config).start();
        Self { dir, agent, plan }
    }

    /// Writes 100 lines more, the first one numbered `from`.
    fn write_more(&mut self, from: u64) {
        let more = Plan {
            from,
            n_lines: 100,
            ..self.plan.clone()
        };
        more.write();
        self.plan.n_lines += 100;
    }

    /// Waits until every line is stored, stops logweir, and checks that none came twice.
    #[track_caller]
    fn finish_exact(self, collector: &Collector) {
        // A pause after a refusal may be long: it is for a person who mends a set-up.
        collector.wait_lines(
            self.plan.writer,
            self.plan.n_lines,
            4 * crate::support::PATIENCE,
        );
        let ended = self.agent.stop();

        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let written = [(self.plan.writer, self.plan.n_lines)];
        collector
            .oracle(|oracle| oracle.report(&written))
            .expect_exact();
    }
}
