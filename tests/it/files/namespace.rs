//! Logweir in namespaces of its own: with a tiny disk, without watches, without rights. Where the
//! system does not allow that, it is said loudly and the test has nothing to judge.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Agent, Dir, Logweir};

use super::Scene;

/// True where `wrapper` can run programs here; else it is said that `test` is skipped.
pub(crate) fn allowed(test: &str, wrapper: &[&str], script: &str) -> bool {
    let tried = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .args(["sh", "-c", script])
        .stdin(Stdio::null())
        .output();
    let good = tried.as_ref().is_ok_and(|output| output.status.success());
    if !good {
        let said = tried.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        eprintln!("SKIPPED: {test}: {wrapper:?} is not permitted here: {said:?}");
    }
    good
}

/// What makes a file's mode count, also for root.
pub(crate) fn without_override() -> &'static [&'static str] {
    // Who is not root needs no help to be refused.
    if rustix::process::geteuid().is_root() {
        &["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    } else {
        &["env"]
    }
}

/// A mount namespace in which the caller is root.
pub(crate) const MOUNTS: [&str; 2] = ["unshare", "-rm"];

/// Mounts a file system in memory of `size` on `at`.
pub(crate) fn tmpfs(size: &str, at: &Path) -> String {
    format!(
        "mount -t tmpfs -o size={size},mode=777 tiny '{}'",
        at.display()
    )
}

/// `logweir run -c CONFIG` under `wrapper`, after `before` in a shell. Its process id is the shell's.
pub(crate) fn run_under(dir: &Dir, config: &Path, wrapper: &[&str], before: &str) -> Logweir {
    let script = format!(
        "exec {} sh -c '{} && exec \"$@\"' sh \"$@\"",
        wrapper.join(" "),
        before.replace('\'', "'\\''")
    );
    let args = [OsStr::new("run"), OsStr::new("-c"), config.as_os_str()];
    Logweir::shell(dir, &script, args)
}

impl Scene {
    /// Starts logweir under `wrapper`, after `before` in a shell.
    pub(super) fn start_under(&self, wrapper: &[&str], before: &str) -> Agent {
        run_under(&self.dir, &self.config, wrapper, before).start()
    }
}

/// A path as the process sees it.
pub(crate) fn seen_by(agent: &Agent, path: &Path) -> PathBuf {
    let root = format!("/proc/{}/root", agent.id());
    Path::new(&root).join(path.strip_prefix("/").expect("an absolute path"))
}
