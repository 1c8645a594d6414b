//! Programs that tests use and that are not Rust's.

/// True where `tool` is installed. Where it is not, `test` is skipped loudly, and in CI it fails.
#[track_caller]
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()) {
        return true;
    }
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!is_ci, "{test}: {tool} is not installed");
    eprintln!("SKIPPED: {test}: {tool} is not installed");
    false
}
