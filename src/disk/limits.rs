//! What the system allows this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any process needs, and not more than the kernel's own default bound.
const FILES_WANTED: u64 = 1 << 20;

/// Allows this process as many open files as the system lets it; says how many.
#[must_use]
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Only the superuser may go beyond the hard limit. Who may not goes on with what there is.
    for wanted in [Some(FILES_WANTED).max(limit.maximum), limit.maximum] {
        if setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted }).is_ok() {
            return wanted.unwrap_or(u64::MAX);
        }
    }
    limit.current.unwrap_or(u64::MAX)
}
