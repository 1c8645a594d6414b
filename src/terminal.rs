//! The terminal that records, notes and the log share: everything on stderr is written in whole
//! lines, and a spinner gives way to them. It must not know what is said.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Back to the first column, and nothing on the line any more.
const ERASE: &str = "\r\x1b[K";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How long nothing is shown: a spinner that only flashes up disturbs.
const PATIENCE: Duration = Duration::from_millis(250);
const FRAME: Duration = Duration::from_millis(100);

/// What the spinner's line shows; empty where there is none. Held while stderr is written.
static SHOWN: Mutex<String> = Mutex::new(String::new());

/// False once there is no more to wait for, so that records need not take the lock.
static WAITING: AtomicBool = AtomicBool::new(false);

/// Writes one line to stderr at once. If that is closed, there is nobody to tell.
pub fn say(line: &str) {
    write(&format!("{line}\n"));
}

/// The text without the numbers that Rust puts behind what the system said: `(os error 2)`.
pub fn without_codes(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut parts = text.split(BEFORE);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((code, rest)) if code.bytes().all(|byte| byte.is_ascii_digit()) => {
                plain.push_str(rest);
            }
            _ => {
                plain.push_str(BEFORE);
                plain.push_str(part);
            }
        }
    }
    plain
}

/// Writes a note about a source, `+ orders connected`; on a terminal its sign is coloured.
pub fn note(line: &str) {
    say(&noted(line));
}

/// A note as it is shown.
pub fn noted(line: &str) -> String {
    if !colored() {
        return line.to_owned();
    }
    let color = match line.as_bytes().first() {
        Some(b'+') => "\x1b[32m",
        Some(b'~') => "\x1b[33m",
        Some(b'!') => "\x1b[31m",
        _ => "",
    };
    let (sign, rest) = line.split_at_checked(1).unwrap_or((line, ""));
    format!("{color}{sign}{RESET}{DIM}{rest}{RESET}")
}

/// Takes away what a terminal shows on the line of the cursor, such as the `^C` that it echoed.
pub fn erase_line() {
    if io::stderr().is_terminal() {
        write_all(ERASE.as_bytes());
    }
}

/// Whether stderr is coloured.
pub fn colored() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Takes the spinner away for good: the first records come.
pub fn records_come() {
    if WAITING.swap(false, Ordering::AcqRel) {
        let mut shown = shown();
        if !shown.is_empty() {
            shown.clear();
            write_all(ERASE.as_bytes());
        }
    }
}

/// Shows a spinner with `text` on stderr until [`records_come`]; nothing where stderr is no
/// terminal. Completes then, and takes the spinner away when it is dropped.
pub async fn spin(text: &str) {
    struct Gone;
    impl Drop for Gone {
        fn drop(&mut self) {
            records_come();
        }
    }
    if !io::stderr().is_terminal() {
        return;
    }
    WAITING.store(true, Ordering::Release);
    let _gone = Gone;
    tokio::time::sleep(PATIENCE).await;
    for frame in FRAMES.iter().cycle() {
        {
            let mut shown = shown();
            // Asked under the lock: after `records_come` nothing may be drawn.
            if !WAITING.load(Ordering::Acquire) {
                return;
            }
            *shown = format!("{frame} {text}");
            write_all(format!("{ERASE}{shown}").as_bytes());
        }
        tokio::time::sleep(FRAME).await;
    }
}

/// Stderr for whole messages: each call is written at once, and the spinner gives way.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(lines: &str) {
    let lines = without_codes(lines);
    let shown = shown();
    if shown.is_empty() {
        write_all(lines.as_bytes());
    } else {
        write_all(format!("{ERASE}{lines}{shown}").as_bytes());
    }
}

fn shown() -> MutexGuard<'static, String> {
    // A panic elsewhere leaves a line of text; it is still good.
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_not_told_numbers_of_errors() {
        assert_eq!(
            without_codes("a: No such file (os error 2); b: (os error x) Denied (os error 13)"),
            "a: No such file; b: (os error x) Denied"
        );
    }
}
