//! On a terminal, which tmux is: what a person sees.

use std::process::Command;

use crate::support::{Dir, PATIENCE, has_tool};

/// A terminal of 100 columns in which a shell script runs.
struct Screen {
    dir: Dir,
}

impl Screen {
    /// Starts `script`, in which `logweir` is the binary; `None` where there is no tmux.
    fn new(test: &str, dir: Dir, script: &str) -> Option<Self> {
        if !has_tool(test, "tmux") {
            return None;
        }
        let binary = env!("CARGO_BIN_EXE_logweir");
        let script = format!(
            "cd '{}'\ntrap : INT\nlogweir() {{ '{binary}' \"$@\"; }}\n{script}\necho \"exit=$?\"\nexec sleep 600\n",
            dir.path("").display()
        );
        let path = dir.write("script.sh", script);
        let this = Self { dir };
        let run = format!("exec sh '{}'", path.display());
        this.tmux(&["new-session", "-d", "-x", "100", "-y", "24", &run]);
        Some(this)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-f", "/dev/null", "-S", &self.dir.text("tmux.socket")])
            .args(args)
            .env_remove("TMUX")
            .env_remove("NO_COLOR")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .output()
            .expect("tmux runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn send(&self, keys: &str) {
        self.tmux(&["send-keys", keys]);
    }

    /// Waits until the screen has what `is_there` wants, and returns it.
    #[track_caller]
    fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = crate::support::poll(PATIENCE, || {
            last = self.tmux(&["capture-pane", "-p"]);
            is_there(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("waited in vain for {what}:\n{last}"))
    }

    /// The screen with the sequences that colour it.
    fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-S", &self.dir.text("tmux.socket"), "kill-server"])
            .output();
    }
}

#[test]
fn a_spinner_waits_for_the_first_line_and_ctrl_c_leaves_a_summary() {
    let test = "a_spinner_waits_for_the_first_line_and_ctrl_c_leaves_a_summary";
    let dir = Dir::new();
    dir.write("app.log", "");
    dir.write("web.log", "");
    let Some(screen) = Screen::new(test, dir, "logweir tail app.log web.log") else {
        return;
    };
    screen.wait("the spinner", |it| {
        it.contains("waiting for first data from 2 sources")
    });

    screen.dir.append("app.log", "hello\n");
    let after = screen.wait("the line", |it| it.contains("│ hello"));
    assert!(!after.contains("waiting"), "{after}");
    assert!(after.starts_with("app  "), "{after}");
    screen.send("C-c");
    let end = screen.wait("the end", |it| it.contains("exit="));

    let rows: Vec<&str> = end
        .lines()
        .map(str::trim_end)
        .filter(|it| !it.is_empty())
        .collect();
    assert_eq!(rows.len(), 3, "{end}");
    assert!(
        rows[1].starts_with("= 2 sources, 1 line, 0 reconnects, 0 dropped, "),
        "{end}"
    );
    assert_eq!(rows[2], "exit=130");
}

// Scenario: lines are typed. Bug: the spinner stood where they were typed, and stayed there. Fix: none.
#[test]
fn what_is_typed_is_not_mixed_with_a_spinner() {
    let test = "what_is_typed_is_not_mixed_with_a_spinner";
    let Some(screen) = Screen::new(test, Dir::new(), "echo ready; logweir tail -") else {
        return;
    };
    screen.wait("the shell", |it| it.contains("ready"));

    screen.send("typed");
    screen.send("Enter");
    let shown = screen.wait("the line", |it| it.contains("│ typed"));
    screen.send("C-d");
    screen.wait("the end", |it| it.contains("exit=0"));

    assert!(!shown.contains("waiting"), "{shown}");
}

#[test]
fn nothing_is_coloured_where_no_color_is_set() {
    for (environment, is_coloured) in [("", true), ("NO_COLOR=1", false)] {
        let test = "nothing_is_coloured_where_no_color_is_set";
        let dir = Dir::new();
        dir.write("app.log", "one\n");
        dir.write("web.log", "two\n");
        let script = format!("export {environment} A=1; logweir tail --no-follow app.log web.log");
        let Some(screen) = Screen::new(test, dir, &script) else {
            return;
        };

        let plain = screen.wait("the end", |it| it.contains("exit=0"));
        let shown = screen.coloured();

        assert!(
            plain.contains("│ one") && plain.contains("│ two"),
            "{plain}"
        );
        assert_eq!(shown.contains('\x1b'), is_coloured, "{shown:?}");
    }
}

#[test]
fn colours_can_be_forced_into_a_pager() {
    let test = "colours_can_be_forced_into_a_pager";
    if !has_tool(test, "less") {
        return;
    }
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let script = "logweir tail --no-follow -q --color always app.log | less -R";
    let Some(screen) = Screen::new(test, dir, script) else {
        return;
    };

    let plain = screen.wait("the pager", |it| it.contains("(END)"));
    let shown = screen.coloured();

    assert!(
        plain.starts_with("app  ") && plain.contains("│ one"),
        "{plain}"
    );
    assert!(!plain.contains("ESC"), "{plain}");
    assert!(shown.starts_with("\x1b["), "{shown:?}");
    screen.send("q");
    screen.wait("the end", |it| it.contains("exit=0"));
}

#[test]
fn a_line_cannot_rule_the_terminal() {
    let test = "a_line_cannot_rule_the_terminal";
    let dir = Dir::new();
    dir.write(
        "app.log",
        "first\n\x1b[2J\x1b[H\x1b]0;title\x07cleared?\rover\n",
    );
    let Some(screen) = Screen::new(test, dir, "logweir tail --no-follow app.log") else {
        return;
    };

    let shown = screen.wait("the end", |it| it.contains("exit=0"));

    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[0].ends_with("│ first"), "{shown}");
    assert!(
        rows[1].ends_with("│ ␛[2J␛[H␛]0;title␇cleared?␍over"),
        "{shown}"
    );
}
