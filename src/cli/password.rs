//! The password of a server, from where nobody else sees it: a file or the environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::Result;
use super::exit::{Exit, Failure};

/// Reads the first line of a file.
pub(crate) fn of_file(path: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read the password file {}", path.display()))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    if password.is_empty() {
        let sentence = format!("the password file {} has no password in its first line", path.display());
        return Err(Failure::new(Exit::Usage, sentence).into());
    }
    Ok(password.to_vec())
}

/// That of the file, if one is given; else that of `DRAVE_PASSWORD`, if that is set.
pub(crate) fn given(file: Option<&Path>) -> Result<Option<Vec<u8>>> {
    match file {
        Some(path) => of_file(path).map(Some),
        None => Ok(std::env::var_os("DRAVE_PASSWORD").map(OsString::into_vec).filter(|password| !password.is_empty())),
    }
}
