//! Places in a topic, as typed.

use drave::engine::Position;
use drave::ids::Offset;

/// Reads a position.
#[expect(dead_code, reason = "its first user is topic trim")]
pub(crate) fn parse(text: &str) -> Result<Position, String> {
    match text {
        "start" => Ok(Position::Start),
        "end" => Ok(Position::End),
        _ => text.parse().map(|offset| Position::At(Offset(offset))).map_err(|_| format!("'{text}' is not a position")),
    }
}
