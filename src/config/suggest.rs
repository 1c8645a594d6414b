//! "Did you mean".
//!
//! Pure: no I/O, no clock.

/// The candidate that was probably meant; `None` if none is near.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |candidate: &str| {
        strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase())
    };
    // A third of the letters may be wrong: more turns every short word into every other.
    let near = |candidate: &str| word.len().max(candidate.len()) / 3;
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= near(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let keys = [
            "path",
            "start",
            "labels",
            "max_line",
            "rotate_grace",
            "forget_after",
            "type",
        ];
        let cases = [
            ("pth", Some("path")),
            ("paths", Some("path")),
            ("lables", Some("labels")),
            ("maxline", Some("max_line")),
            ("max-line", Some("max_line")),
            ("MAX_LINE", Some("max_line")),
            ("forgetafter", Some("forget_after")),
            ("lable", Some("labels")),
            ("colour", None),
            ("x", None),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, keys), near, "{word}");
        }
    }
}
