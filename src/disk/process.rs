//! What the kernel tells of this process.

#![expect(unsafe_code, reason = "no well-kept crate that is here already offers getrusage")]

use std::time::Duration;

/// Bytes of memory that this process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Now.
    pub resident_bytes: u64,
    /// At most, since it began.
    pub peak_bytes: u64,
}

/// How much memory this process takes; 0 where the kernel does not tell (no `/proc`).
#[must_use]
pub fn process_memory() -> ProcessMemory {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    ProcessMemory { resident_bytes: field("VmRSS:").unwrap_or(0), peak_bytes: field("VmHWM:").unwrap_or(0) }
}

/// Time that processors spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In the program.
    pub user: Duration,
    /// In the kernel for it.
    pub system: Duration,
}

/// Whose time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All threads of this process.
    Process,
    /// The calling thread.
    Thread,
    /// Processes that this one has started and waited for.
    Children,
}

/// How much time processors spent.
#[must_use]
pub fn cpu_time(whose: Whose) -> CpuTime {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Thread => libc::RUSAGE_THREAD,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes one `rusage` where it is told to; all zeros, which stay if it refuses, is one too.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |value: libc::timeval| {
        let micros = i128::from(value.tv_sec) * 1_000_000 + i128::from(value.tv_usec);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    CpuTime { user: time(usage.ru_utime), system: time(usage.ru_stime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_of_this_process() {
        let total = |whose| {
            let time = cpu_time(whose);
            time.user + time.system
        };
        let before = total(Whose::Thread);
        let mut x = 1u64;
        while total(Whose::Thread) < before + Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(total(Whose::Process) >= total(Whose::Thread) / 2);
        assert_eq!(cpu_time(Whose::Children), CpuTime::default(), "tests start no processes here");
    }

    #[test]
    fn a_process_takes_some_memory_and_never_more_than_its_peak() {
        let memory = process_memory();
        assert!(memory.resident_bytes > 100 << 10 && memory.peak_bytes >= memory.resident_bytes / 2, "{memory:?}");
    }
}
