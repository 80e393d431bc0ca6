//! What the kernel tells of this process.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_some_memory_and_never_more_than_its_peak() {
        let memory = process_memory();
        assert!(memory.resident_bytes > 100 << 10 && memory.peak_bytes >= memory.resident_bytes / 2, "{memory:?}");
    }
}
