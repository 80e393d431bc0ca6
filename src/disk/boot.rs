//! Which boot of the machine this is: what a process left in memory-mapped pages is to be believed
//! only by processes of the same boot.

use crate::error::{Error, Result};

const PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's random id of this boot. All zero means "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// No boot's id.
    pub const NONE: BootId = BootId([0; 16]);

    /// The id of the running boot.
    ///
    /// # Errors
    /// When the kernel does not tell it.
    pub fn current() -> Result<BootId> {
        let text = std::fs::read_to_string(PATH).map_err(|source| Error::io("read", PATH, source))?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        match u128::from_str_radix(&digits, 16) {
            Ok(number) if digits.len() == 32 && number != 0 => Ok(BootId(number.to_be_bytes())),
            _ => Err(Error::Damaged { path: PATH.into(), position: 0, what: "not a boot id".to_owned() }),
        }
    }
}
