//! Stack traces: which lines belong to the line before them.
//!
//! Knows what Java, Python and Go print, and with Java's rules what JavaScript and .NET do. A trace
//! is told by its own lines, so the message in front of it stays a record of its own unless the
//! first frame follows it directly.
//!
//! Pure: no I/O, no clock.

use super::grouping::Step;

/// What the lines of a record so far look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trace {
    /// Any line.
    #[default]
    Plain,
    /// A line that names an exception, or frames below it.
    Frames,
    /// Python: `Traceback (most recent call last):` and the frames below it.
    Python,
    /// Python: the exception was named; an empty line and another traceback may follow.
    PythonNamed,
    /// Python: an empty line behind that.
    PythonGap,
    /// Python: the sentence that leads to the next traceback.
    PythonChain,
    /// Python: an exception group, all of whose lines are indented.
    PythonGroup,
    /// Go: `panic: …`; so many further lines of its value.
    GoPanic(u8),
    /// Go: a goroutine and its frames.
    Goroutine,
    /// Go: an empty line behind either.
    GoGap,
}

/// Further lines of a Go panic's value at most: it is text of the program's, which can be anything.
const PANIC_LINES_MAX: u8 = 8;

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
const GROUP_TRACEBACK: &[u8] = b"Exception Group Traceback (most recent call last):";

impl Trace {
    /// Whether a line continues the record, and what the record looks like with it.
    pub(super) fn step(self, line: &[u8]) -> (Step, Trace) {
        let line = line.trim_ascii_end();
        match self.next(line) {
            Some(next @ (Trace::PythonGap | Trace::GoGap)) => (Step::Perhaps, next),
            Some(next) => (Step::Continues, next),
            None => (Step::Starts, Self::first(line)),
        }
    }

    /// What a record looks like that begins with this line.
    pub(super) fn first(line: &[u8]) -> Trace {
        let line = line.trim_ascii_end();
        match line.first() {
            Some(b'p') if line.starts_with(b"panic: ") => Trace::GoPanic(0),
            Some(b'f') if line.starts_with(b"fatal error: ") => Trace::GoPanic(0),
            Some(b'g') if is_goroutine(line) => Trace::Goroutine,
            // What is left of a trace that was too long for one record.
            Some(b' ' | b'\t') => match line.trim_ascii_start() {
                inner if inner.ends_with(GROUP_TRACEBACK) => Trace::PythonGroup,
                inner if is_frame(inner) => Trace::Frames,
                inner if inner.starts_with(b"File \"") => Trace::Python,
                inner if memchr::memmem::find(inner, b".go:").is_some() => Trace::Goroutine,
                _ => Trace::Plain,
            },
            _ if line.ends_with(GROUP_TRACEBACK) => Trace::PythonGroup,
            _ if line.ends_with(TRACEBACK) => Trace::Python,
            _ if names_exception(line) => Trace::Frames,
            _ => Trace::Plain,
        }
    }

    /// `None` where the line begins something else.
    fn next(self, line: &[u8]) -> Option<Trace> {
        let indented = matches!(line.first(), Some(b' ' | b'\t'));
        let inner = line.trim_ascii_start();
        match self {
            Trace::Plain if indented && is_frame(inner) => Some(Trace::Frames),
            // A server that recovers from a panic logs a line and then the goroutine.
            Trace::Plain | Trace::GoPanic(_) if is_goroutine(line) => Some(Trace::Goroutine),
            Trace::Plain => None,
            Trace::Frames => (indented || is_cause(line)).then_some(Trace::Frames),
            Trace::Python if indented => Some(Trace::Python),
            Trace::Python => is_named(line).then_some(Trace::PythonNamed),
            Trace::PythonNamed if line.is_empty() => Some(Trace::PythonGap),
            Trace::PythonNamed => indented.then_some(Trace::PythonNamed),
            Trace::PythonGap => is_chain(line).then_some(Trace::PythonChain),
            Trace::PythonChain if line.is_empty() => Some(Trace::PythonChain),
            Trace::PythonChain if inner.ends_with(GROUP_TRACEBACK) => Some(Trace::PythonGroup),
            Trace::PythonChain => line.ends_with(TRACEBACK).then_some(Trace::Python),
            Trace::PythonGroup if line.is_empty() => Some(Trace::PythonGap),
            Trace::PythonGroup => indented.then_some(Trace::PythonGroup),
            Trace::GoPanic(_) if line.is_empty() => Some(Trace::GoGap),
            Trace::GoPanic(lines) if indented || line.starts_with(b"[signal ") => {
                Some(Trace::GoPanic(lines))
            }
            Trace::GoPanic(lines) => {
                let is_value = lines < PANIC_LINES_MAX && !looks_logged(line);
                is_value.then_some(Trace::GoPanic(lines + 1))
            }
            Trace::Goroutine if line.is_empty() => Some(Trace::GoGap),
            Trace::Goroutine => (indented || is_call(line)).then_some(Trace::Goroutine),
            Trace::GoGap => is_goroutine(line).then_some(Trace::Goroutine),
        }
    }
}

/// `at x.y(Z.java:1)`, `... 3 more`, `Suppressed: x`, without their indentation.
fn is_frame(inner: &[u8]) -> bool {
    match inner.first() {
        Some(b'a') => inner.starts_with(b"at "),
        Some(b'.') => {
            inner.starts_with(b"... ")
                && (inner.ends_with(b" more") || inner.ends_with(b"common frames omitted"))
        }
        Some(b'S') => inner.starts_with(b"Suppressed: "),
        Some(b'-') => inner.starts_with(b"---> "),
        _ => false,
    }
}

fn is_cause(line: &[u8]) -> bool {
    line.starts_with(b"Caused by: ") || line.starts_with(b"Nested Exception: ")
}

/// True for `java.lang.IllegalStateException: text`, `Error: text`, also behind `Exception in
/// thread "main"`.
fn names_exception(line: &[u8]) -> bool {
    let line = match line.strip_prefix(b"Exception in thread ") {
        Some(_) => return true,
        None => line.strip_prefix(b"Uncaught ").unwrap_or(line),
    };
    if line.starts_with(b"Unhandled exception. ") {
        return true;
    }
    let name = match memchr::memchr2(b':', b' ', line) {
        Some(end) if line[end] == b':' => &line[..end],
        Some(_) => return false,
        None => line,
    };
    let ends = ["Exception", "Error", "Throwable"].map(str::as_bytes);
    ends.iter().any(|end| name.ends_with(end)) && name.iter().all(|byte| is_name_byte(*byte))
}

/// True for `ValueError: text` and `KeyboardInterrupt`: how a Python traceback ends.
fn is_named(line: &[u8]) -> bool {
    let end = memchr::memchr(b':', line).unwrap_or(line.len());
    let first = line.first();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
        && line[..end].iter().all(|byte| is_name_byte(*byte))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$' | b'/') || byte >= 0x80
}

fn is_chain(line: &[u8]) -> bool {
    line == b"During handling of the above exception, another exception occurred:"
        || line == b"The above exception was the direct cause of the following exception:"
}

/// `goroutine 1 [running]:`
fn is_goroutine(line: &[u8]) -> bool {
    line.starts_with(b"goroutine ") && line.ends_with(b":") && memchr::memchr(b'[', line).is_some()
}

/// `main.(*cache).put(...)`, `created by main.main`, `...additional frames elided...`
fn is_call(line: &[u8]) -> bool {
    line.starts_with(b"created by ")
        || line.starts_with(b"...")
        || line.ends_with(b")") && line.first().is_some_and(u8::is_ascii_alphabetic)
}

/// True where a line begins as a log line does: with a time, a bracket or an object.
fn looks_logged(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'0'..=b'9' | b'[' | b'{' | b'<'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups lines as the rules say; an empty line that only perhaps belongs to a trace does so
    /// where the next one continues it.
    fn groups(text: &str) -> Vec<String> {
        let (mut groups, mut perhaps) = (Vec::<String>::new(), 0);
        let mut trace = Trace::default();
        for line in text.lines() {
            let (step, next) = match groups.is_empty() {
                true => (Step::Starts, Trace::first(line.as_bytes())),
                false => trace.step(line.as_bytes()),
            };
            trace = next;
            match step {
                Step::Starts => {
                    perhaps = 0;
                    groups.push(line.to_owned());
                }
                Step::Perhaps => {
                    perhaps += 1;
                    groups.push(line.to_owned());
                }
                Step::Continues => {
                    let gaps = groups.split_off(groups.len() - perhaps);
                    perhaps = 0;
                    let group = groups.last_mut().unwrap();
                    for part in gaps.iter().map(String::as_str).chain([line]) {
                        group.push('\n');
                        group.push_str(part);
                    }
                }
            }
        }
        groups
    }

    /// Each group is followed by a line of dashes.
    #[track_caller]
    fn check(groups_in_order: &[&str]) {
        let text = groups_in_order.join("\n");

        assert_eq!(groups(&text), groups_in_order);
    }

    #[test]
    fn java() {
        check(&[
            "2026-11-22 INFO before",
            "Exception in thread \"main\" a.B$CException: boom\n  (second line)\n\tat a.B.c(B.java:1)\n\
             Caused by: java.io.IOException: closed\n\tat d.E.f(E.java:2)\n\t... 1 more\n\
             \tSuppressed: g.H: x\n\t\tat g.H.i(H.java:3)\n\t\t... 2 more\nCaused by: j.K\n\tat j.K.l(K.java:4)",
            "",
            "2026-11-22 ERROR failed\n\tat a.B.c(B.java:1)\n\t... 12 common frames omitted",
            "plain",
            "  indented is plain",
            "java.lang.Error",
            "java.lang.Error",
        ]);
    }

    #[test]
    fn javascript_and_dotnet() {
        check(&[
            "server.js:10",
            "TypeError: x is not a function\n    at f (a.js:1:2)\n    at async g (b.js:3:4) {\n  code: 1",
            "}",
            "Unhandled exception. System.Exception: a\n ---> System.IO.IOException: b\n   at X.Y()\n   --- End of inner exception stack trace ---\n   at Z.W()",
        ]);
    }

    #[test]
    fn python() {
        check(&[
            "ERROR payment failed",
            "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    x()\n    ^^^\nKeyError: 'card'\n\n\
             The above exception was the direct cause of the following exception:\n\n\
             Traceback (most recent call last):\n  File \"a.py\", line 2\nshop.PaymentError: no",
            "",
            "",
            "INFO next",
            "Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyboardInterrupt",
            "2026-11-22 INFO",
            "  + Exception Group Traceback (most recent call last):\n  |   File \"a.py\"\n  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---- 1 ----\n    | ValueError: a\n    +----",
            "INFO next",
            "Traceback (most recent call last):\n  File \"a.py\", line 3",
            "2026-11-22 torn",
        ]);
    }

    #[test]
    fn go() {
        check(&[
            "2026/11/22 worker: job 4",
            "panic: runtime error: index [recovered]\n\tpanic: job: again\nsecond line of the value\n\
             [signal SIGSEGV: x]\n\ngoroutine 1 [running]:\nmain.(*cache).put(...)\n\t./main.go:14\n\
             panic({0x49e280, 0xc00001a090})\n\truntime/panic.go:884 +0x212\n\n\
             goroutine 5 [chan receive, 2 minutes]:\nmain.f(0x1)\n\t./main.go:1 +0x1\ncreated by main.main\n\t./main.go:2",
            "exit status 2",
            "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.main()\n\t/a.go:1",
            "",
            "2026/11/22 http: panic serving 1.2.3.4:5: x\ngoroutine 8 [running]:\nnet/http.f()\n\t/b.go:1",
            "2026/11/22 next",
            "panic: alone",
            "2026/11/22 next",
        ]);
    }
}
