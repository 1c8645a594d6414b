//! The binary: everything is in the library.

use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;

/// One heap for all threads: it fragments less than the arena per thread of glibc, which kept 5 to
/// 8 MiB after the first read of 10,000 files. Nothing is allocated per line, so threads hardly ever
/// wait for each other.
#[global_allocator]
static HEAP: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    logweir::cli::main()
}
