//! Random bytes: salts, incarnations, names that nobody else has.

/// `N` random bytes.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("Linux always has random numbers once it has booted");
    bytes
}

/// Sixteen hex digits that nobody else has.
#[must_use]
pub fn random_name() -> String {
    format!("{:016x}", u64::from_le_bytes(random()))
}
