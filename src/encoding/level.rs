//! How serious a line is, by what it says itself: a key of a JSON record, a logfmt pair, or one of
//! the common prefixes.
//!
//! A guess, and a careful one: a word counts only where writers of logs put a level, so that "0
//! errors found" stays without one. Work per line is bounded.
//!
//! Pure: no I/O, no clock.

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finest detail.
    Trace,
    /// For whoever wrote the program.
    Debug,
    /// It went as it should.
    Info,
    /// It may become trouble.
    Warn,
    /// Something failed.
    Error,
    /// The program cannot go on.
    Fatal,
}

/// How much of a line is looked at: a level stands near its beginning, behind time and host.
const LOOKED_AT_BYTES: usize = 256;

/// Words of a line's beginning that are looked at.
const WORDS_MAX: usize = 16;

const KEYS: [&str; 10] = [
    "level",
    "severity",
    "lvl",
    "log.level",
    "loglevel",
    "log_level",
    "levelname",
    "level_name",
    "severity_text",
    "severityText",
];

impl Level {
    /// The level that `line` names. `None`: it names none.
    pub fn detect(line: &[u8]) -> Option<Self> {
        let start = line.trim_ascii_start();
        if start.first() == Some(&b'{') {
            return in_json(&start[..start.len().min(8 * LOOKED_AT_BYTES)]);
        }
        let start = &start[..start.len().min(LOOKED_AT_BYTES)];
        if let Some(rest) = start.strip_prefix(b"<") {
            return priority(rest);
        }
        glog(start)
            .or_else(|| in_logfmt(start))
            .or_else(|| in_words(start))
    }

    /// The level that a word means, whatever its case.
    pub fn of_word(word: &[u8]) -> Option<Self> {
        /// No word for a level is longer.
        const WORD_BYTES_MAX: usize = 13;
        let mut lower = [0; WORD_BYTES_MAX];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trc" | b"finest" | b"finer" | b"verbose" => Self::Trace,
            b"debug" | b"dbg" | b"debu" | b"fine" | b"debug1" | b"debug2" | b"debug3"
            | b"debug4" | b"debug5" => Self::Debug,
            b"info" | b"inf" | b"information" | b"informational" | b"notice" | b"log" | b"note"
            | b"config" => Self::Info,
            b"warn" | b"warning" | b"wrn" => Self::Warn,
            b"error" | b"err" | b"eror" | b"severe" => Self::Error,
            b"fatal" | b"ftl" | b"crit" | b"critical" | b"panic" | b"emerg" | b"emergency"
            | b"alert" | b"dpanic" => Self::Fatal,
            _ => return None,
        })
    }

    /// OpenTelemetry's severity number: the lowest of the level's four.
    pub fn otel_number(self) -> u8 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }

    /// Its name in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// Numbers of bunyan and pino: 10 for trace up to 60 for fatal.
    fn of_number(number: u32) -> Option<Self> {
        Some(match number {
            10..20 => Self::Trace,
            20..30 => Self::Debug,
            30..40 => Self::Info,
            40..50 => Self::Warn,
            50..60 => Self::Error,
            60..70 => Self::Fatal,
            _ => return None,
        })
    }
}

/// Looks for a key of the outermost object; it need not be valid, and is not checked.
fn in_json(text: &[u8]) -> Option<Level> {
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let end = string_end(text, at)?;
                let key = &text[at..end];
                at = end + 1;
                let rest = text[at..].trim_ascii_start();
                if depth == 1
                    && let Some(value) = rest.strip_prefix(b":")
                    && KEYS.iter().any(|it| it.as_bytes() == key)
                {
                    return of_value(value.trim_ascii_start());
                }
            }
            _ => {}
        }
    }
    None
}

/// Index of the quote that ends the string whose first byte is at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The level of a JSON value: a word in quotes, or a number.
fn of_value(value: &[u8]) -> Option<Level> {
    if let Some(text) = value.strip_prefix(b"\"") {
        return Level::of_word(&text[..memchr::memchr(b'"', text)?]);
    }
    number(value).and_then(Level::of_number)
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// `<13>`: facility × 8 + severity (RFC 5424 §6.2.1).
fn priority(rest: &[u8]) -> Option<Level> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 3 || rest.get(digits) != Some(&b'>') {
        return None;
    }
    Some(match number(rest).filter(|it| *it <= 191)? % 8 {
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    })
}

/// `I1122 18:25:48.123456`: the letter, month and day of glog and klog.
fn glog(text: &[u8]) -> Option<Level> {
    let (letter, rest) = text.split_first()?;
    let is_date = rest.len() > 4 && rest[..4].iter().all(u8::is_ascii_digit) && rest[4] == b' ';
    let level = match letter {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        b'D' => Level::Debug,
        _ => return None,
    };
    is_date.then_some(level)
}

/// `level=info`, `lvl="warn"`.
fn in_logfmt(text: &[u8]) -> Option<Level> {
    memchr::memchr_iter(b'=', text).find_map(|at| {
        let before = &text[..at];
        let start = before
            .iter()
            .rposition(|byte| matches!(byte, b' ' | b'\t' | b',' | b';' | b'['));
        let key = &before[start.map_or(0, |it| it + 1)..];
        KEYS.iter().find(|it| it.as_bytes() == key)?;
        let value = &text[at + 1..];
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let end = value.iter().position(|byte| !byte.is_ascii_alphanumeric());
        Level::of_word(&value[..end.unwrap_or(value.len())])
    })
}

/// A word in capitals (`INFO`, `[WARN]`, `LOG:`), or one in brackets or before a colon in whatever
/// case, near the line's beginning.
fn in_words(text: &[u8]) -> Option<Level> {
    let mut at = 0;
    for _ in 0..WORDS_MAX {
        let rest = text.get(at..)?;
        let start = at + rest.iter().position(u8::is_ascii_alphabetic)?;
        let length = text[start..]
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .unwrap_or(text.len() - start);
        let word = &text[start..start + length];
        at = start + length;
        let before = start.checked_sub(1).map(|it| text[it]);
        let after = text.get(at);
        let is_marked = match before {
            Some(b'[' | b'|' | b'(') => matches!(after, Some(b']' | b'|' | b')')),
            None | Some(b' ' | b'\t') => after == Some(&b':'),
            _ => false,
        };
        let is_capital = word.iter().all(|byte| !byte.is_ascii_lowercase())
            && matches!(
                before,
                None | Some(b' ' | b'\t' | b'[' | b'|' | b'(' | b'<' | b':' | b'-')
            );
        if (is_marked || is_capital)
            && let Some(level) = Level::of_word(word)
        {
            return Some(level);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_where_writers_put_them() {
        let cases: [(&str, Option<Level>); 30] = [
            (
                "2026-11-22T18:25:48.123Z INFO  http.server up",
                Some(Level::Info),
            ),
            ("2026-11-22 18:25:48 [WARN] disk", Some(Level::Warn)),
            (
                "2026/11/22 23:36:51 [error] 5077#5077: *197 open()",
                Some(Level::Error),
            ),
            (
                "2026-11-22 23:38:42.005 UTC [8022] LOG:  shut down",
                Some(Level::Info),
            ),
            (
                "2026-11-22 23:38:42.005 UTC [8022] FATAL:  the end",
                Some(Level::Fatal),
            ),
            ("ERROR: relation \"x\" does not exist", Some(Level::Error)),
            (
                "error: aborting due to 2 previous errors",
                Some(Level::Error),
            ),
            ("INFO:root:started", Some(Level::Info)),
            (
                "18:25:48.120 [main] DEBUG c.e.App - hello",
                Some(Level::Debug),
            ),
            (
                "I1122 18:25:48.123456   1 main.go:12] up",
                Some(Level::Info),
            ),
            (
                "E1122 18:25:48.123456   1 main.go:12] down",
                Some(Level::Error),
            ),
            ("time=2026 level=warn msg=\"no space\"", Some(Level::Warn)),
            ("ts=1 caller=x.go lvl=\"eror\" msg=y", Some(Level::Error)),
            (
                "<11>1 2026-11-22T18:25:48Z host app - - - x",
                Some(Level::Error),
            ),
            ("<165>Nov 22 18:25:48 host app: x", Some(Level::Info)),
            (r#"{"level":"error","msg":"x"}"#, Some(Level::Error)),
            (
                r#"{ "time": 1, "severity" : "WARNING" }"#,
                Some(Level::Warn),
            ),
            (r#"{"level":30,"time":1}"#, Some(Level::Info)),
            (r#"{"log.level":"DEBUG"}"#, Some(Level::Debug)),
            (r#"{"req":{"level":"error"},"msg":"level\":\"error"}"#, None),
            (r#"{"msg":"level","level":"trace"}"#, Some(Level::Trace)),
            (r#"{"msg":"cut in the mid"#, None),
            ("GET /error 200", None),
            ("0 errors found in 3 files", None),
            ("an error of no interest", None),
            ("", None),
            ("{", None),
            ("<999>x", None),
            ("level=", None),
            ("ża [", None),
        ];
        for (line, level) in cases {
            assert_eq!(Level::detect(line.as_bytes()), level, "{line}");
        }
    }

    #[test]
    fn sample_logs_have_levels() {
        let with_level = |text: &[u8]| {
            let lines = text.split(|byte| *byte == b'\n');
            lines.filter(|line| Level::detect(line).is_some()).count()
        };

        let nginx = with_level(include_bytes!("../../fixtures/logs/nginx-error.log"));
        let node = with_level(include_bytes!("../../fixtures/logs/node-json.log"));
        let logfmt = with_level(include_bytes!("../../fixtures/logs/logfmt.log"));
        let access = with_level(include_bytes!("../../fixtures/logs/nginx-access.log"));

        assert_eq!((nginx, node, access), (59, 22, 0));
        assert!(logfmt >= 80, "{logfmt}");
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_strange(line: Vec<u8>, start in "[\\[<{ \"a-zA-Z:=]{0,20}") {
            let line = [start.as_bytes(), &line].concat();

            let _ = Level::detect(&line);
        }
    }
}
