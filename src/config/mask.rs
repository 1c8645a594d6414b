//! Blots out secrets in what is shown of a configuration; every byte keeps its place.
//!
//! Two ways work together: readers mask what they know to be secret, and before that a scan of
//! the text masks what looks like it, which also covers files that do not parse.
//!
//! Pure: no I/O, no clock.

use std::ops::Range;

/// A value is taken for a secret where its key ends like this.
const SECRET_KEYS: [&str; 8] = [
    "bearer",
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "api-key",
    "api_key",
];

/// The text with `*` for every byte of what looks like a secret.
pub(super) fn masked(text: &str) -> String {
    let mut shown = text.to_owned();
    let lower = text.to_ascii_lowercase();
    for key in SECRET_KEYS {
        for (at, _) in lower.match_indices(key) {
            if let Some(span) = value_after(&lower, at + key.len()) {
                mask_value(&mut shown, span);
            }
        }
    }
    for (at, _) in text.match_indices("://") {
        mask_url(&mut shown, at + 3);
    }
    shown
}

/// Masks also the values of `basic` and of what looks like a header (`X-…`): for a file that cannot be read, so
/// that nobody knows which they are.
pub(super) fn mask_headers(text: &mut String) {
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower
        .match_indices("x-")
        .chain(lower.match_indices("basic"))
    {
        let rest = &lower[at..];
        let is_key = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        let length = rest.find(|it| !is_key(it)).unwrap_or(rest.len());
        if let Some(span) = value_after(&lower, at + length) {
            mask_value(text, span);
        }
    }
}

/// Masks a value, quotes excepted. References stay readable, for they are not the secret; a
/// default inside one is masked. Text beside references is not taken for a secret.
pub(super) fn mask_value(text: &mut String, span: Range<usize>) {
    let Some(value) = text.get(span.clone()) else {
        return;
    };
    let references = references(value);
    if references.is_empty() {
        let quotes = value.len() - value.trim_start_matches(['"', '\'']).len();
        let inner = value.trim_matches(['"', '\'']).len();
        blot(text, span.start + quotes..span.start + quotes + inner);
    }
    for reference in references {
        blot(
            text,
            span.start + reference.start..span.start + reference.end,
        );
    }
}

/// For every reference in a value, the stretch of its default (empty where it has none).
fn references(value: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in value.match_indices("${") {
        let inside = &value[at + 2..];
        if !["env:", "file:", "cred:"]
            .iter()
            .any(|scheme| inside.starts_with(scheme))
        {
            continue;
        }
        let end = inside.find('}').unwrap_or(inside.len());
        let start = inside[..end].find(":-").map_or(end, |dash| dash + 2);
        found.push(at + 2 + start..at + 2 + end);
    }
    found
}

/// The stretch of the value where `at` is just behind a key; `None` if no value follows.
fn value_after(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text[at..]
        .trim_start_matches(['"', '\''])
        .trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix('=')?.trim_start_matches([' ', '\t']);
    let start = text.len() - rest.len();
    let length = ["\"\"\"", "'''", "\"", "'"]
        .iter()
        .find(|quote| rest.starts_with(**quote))
        .map_or_else(|| unquoted(rest), |quote| quoted(rest, quote));
    Some(start..start + length)
}

fn unquoted(rest: &str) -> usize {
    rest.find(['\n', ',', '}', '#']).unwrap_or(rest.len())
}

/// The length of a quoted string; one that is not closed ends with its line.
fn quoted(rest: &str, quote: &str) -> usize {
    let inside = &rest[quote.len()..];
    let mut from = 0;
    while let Some(at) = inside[from..].find(quote) {
        let at = from + at;
        if quote != "\"" || !inside[..at].ends_with('\\') {
            if quote.len() == 1 && inside[..at].contains('\n') {
                break;
            }
            return quote.len() + at + quote.len();
        }
        from = at + 1;
    }
    rest.find('\n').unwrap_or(rest.len())
}

/// Masks userinfo and query of the URL whose authority starts at `start`.
fn mask_url(text: &mut String, start: usize) {
    let rest = &text[start..];
    let end = rest.find(['"', '\'', '\n', ' ', '#']).unwrap_or(rest.len());
    let url = rest[..end].to_owned();
    let authority = url.find(['/', '?']).unwrap_or(url.len());
    if let Some(at) = url[..authority].rfind('@') {
        mask_value(text, start..start + at);
    } else if let Some((host, port)) = url[..authority].rsplit_once(':') {
        // Neither a port nor an address: a password whose `@` is missing.
        let other = port.bytes().any(|byte| !byte.is_ascii_digit());
        if other && !port.ends_with(']') && !url.contains("${") {
            mask_value(text, start + host.len() + 1..start + authority);
        }
    }
    if let Some(query) = url.find('?') {
        mask_value(text, start + query + 1..start + end);
    }
}

fn blot(text: &mut String, span: Range<usize>) {
    let stars = "*".repeat(span.len());
    text.replace_range(span, &stars);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        let cases = [
            ("bearer = \"hunter2\"", "bearer = \"*******\""),
            ("bearer = hunter2\nx = 1", "bearer = *******\nx = 1"),
            (
                "bearer = \"hunter2\nx = \"1\"",
                "bearer = \"*******\nx = \"1\"",
            ),
            (
                "basic = { user = \"u\", password = 'p\"w' }",
                "basic = { user = \"u\", password = '***' }",
            ),
            (
                "\"Authorization\" = \"Bearer x\"",
                "\"Authorization\" = \"********\"",
            ),
            ("bearer = \"${env:T}\"", "bearer = \"${env:T}\""),
            ("bearer = \"${env:T:-pw}\"", "bearer = \"${env:T:-**}\""),
            (
                "url = \"https://u:pw@h/a?k=v\"",
                "url = \"https://****@h/a?***\"",
            ),
            ("url = \"https://u:pw", "url = \"https://u:**"),
            ("url = \"https://[::1]/\"", "url = \"https://[::1]/\""),
            (
                "url = \"https://h:8080/${env:X}\"",
                "url = \"https://h:8080/${env:X}\"",
            ),
            ("token-service = \"/a\"", "token-service = \"/a\""),
            ("token = \"ä\\\"b\"", "token = \"*****\""),
        ];
        for (text, shown) in cases {
            assert_eq!(masked(text), shown);
        }
    }
}
