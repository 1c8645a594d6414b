//! Keeping and dropping records by regular expressions.
//!
//! Pure: no I/O, no clock.

use crate::model::{Line, Lines, Pattern};

/// Which records are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// A record is kept where any of these matches; without any, every record is.
    pub include: Vec<Pattern>,
    /// A record is dropped where any of these matches, whatever `include` says.
    pub exclude: Vec<Pattern>,
}

impl Filter {
    /// True where every record is kept.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The records that are kept; `None` where none is. They share the bytes of `lines` where all
    /// are.
    pub fn apply(&self, lines: &Lines) -> Option<Lines> {
        lines.filtered(|line| self.keeps(line))
    }

    fn keeps(&self, line: &Line) -> bool {
        // `$` is meant to match before the line end that a file happens to have.
        let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
        let any = |patterns: &[Pattern]| patterns.iter().any(|it| it.is_match(text));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn kept(include: &[&str], exclude: &[&str]) -> Option<String> {
        let patterns = |texts: &[&str]| texts.iter().map(|it| Pattern::new(it).unwrap()).collect();
        let filter = Filter {
            include: patterns(include),
            exclude: patterns(exclude),
        };
        let text = b"GET /a 200\r\nGET /healthz 200\nERROR \xff\n\n";
        let lines = Lines::untouched(Bytes::from_static(text), 4, 0);

        let kept = filter.apply(&lines)?;

        Some(String::from_utf8_lossy(kept.bytes()).replace('\r', "<CR>"))
    }

    #[test]
    fn exclude_wins_over_include() {
        let all = "GET /a 200<CR>\nGET /healthz 200\nERROR \u{fffd}\n\n";

        assert_eq!(kept(&[], &[]).as_deref(), Some(all));
        assert_eq!(
            kept(&["^GET", "^ERROR"], &["healthz"]).as_deref(),
            Some("GET /a 200<CR>\nERROR \u{fffd}\n")
        );
        assert_eq!(
            kept(&["200$"], &["z 200"]).as_deref(),
            Some("GET /a 200<CR>\n")
        );
        assert_eq!(kept(&["^$"], &[]).as_deref(), Some("\n"));
        assert_eq!(kept(&["x"], &[]), None);
        assert_eq!(kept(&[], &[""]), None);
    }
}
