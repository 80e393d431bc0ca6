//! Which change fails, and how.

use rustix::io::Errno;

use crate::disk::{Op, Verdict};

/// Kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Truncate,
    SyncFile,
    SyncDir,
    Create,
    Rename,
    Link,
    Unlink,
    Exchange,
}

impl Kind {
    pub(super) fn of(op: &Op<'_>) -> Kind {
        match op {
            Op::Write { .. } => Kind::Write,
            Op::Truncate { .. } => Kind::Truncate,
            Op::SyncFile { .. } => Kind::SyncFile,
            Op::SyncDir { .. } => Kind::SyncDir,
            Op::Create { .. } => Kind::Create,
            Op::Rename { .. } => Kind::Rename,
            Op::Link { .. } => Kind::Link,
            Op::Unlink { .. } => Kind::Unlink,
            Op::Exchange { .. } => Kind::Exchange,
        }
    }
}

/// A change that is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Of which kind; `None` = any.
    pub(crate) kind: Option<Kind>,
    /// So many of them pass before.
    pub(crate) skip: usize,
    /// So many fail.
    pub(crate) count: usize,
    /// With what.
    pub(crate) errno: Errno,
    /// A write puts down so many bytes before it fails.
    pub(crate) short: Option<usize>,
    /// A failed sync also throws away what it was to write, as kernels may.
    pub(crate) loses: bool,
}

impl Fault {
    /// The change of this kind after `skip` others fails, once.
    pub(crate) fn nth(kind: Option<Kind>, skip: usize, errno: Errno) -> Fault {
        Fault { kind, skip, count: 1, errno, short: None, loses: false }
    }
}

/// What becomes of `op`, and whether a sync that fails loses data.
pub(super) fn strike(faults: &mut [Fault], struck: &mut usize, op: &Op<'_>) -> (Verdict, bool) {
    let kind = Kind::of(op);
    for fault in faults.iter_mut().filter(|fault| fault.kind.is_none_or(|of| of == kind)) {
        if fault.skip > 0 {
            fault.skip -= 1;
            continue;
        }
        if fault.count == 0 {
            continue;
        }
        fault.count -= 1;
        *struck += 1;
        return match (fault.short, op) {
            (Some(bytes), Op::Write { .. }) => (Verdict::Short(bytes, fault.errno), false),
            _ => (Verdict::Fail(fault.errno), fault.loses),
        };
    }
    (Verdict::Go, false)
}
