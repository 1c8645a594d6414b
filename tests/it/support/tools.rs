//! Programs that tests use and that are not Rust's.

use std::ffi::OsString;

/// Where programs are looked for: some are not in the PATH of everybody.
pub(crate) fn tool_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin");
    path
}

/// True where `tool` is installed. Where it is not, `test` is skipped loudly, and in CI it fails.
#[track_caller]
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    if std::env::split_paths(&tool_path()).any(|dir| dir.join(tool).is_file()) {
        return true;
    }
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!is_ci, "{test}: {tool} is not installed");
    eprintln!("SKIPPED: {test}: {tool} is not installed");
    false
}
