//! x
/// x
#[derive(Debug)]
pub struct Mended;
