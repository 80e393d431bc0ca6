//! DEBUG: closing and reading again what is there; sleeping.

use super::server::debug_sleep;
use super::{Done, Flags, Keys, Spec, command, help};
use crate::server::dispatch::Call;
use crate::server::refusal::Answer;

/// What is in batches is in the logs first.
const FLAGS: Flags = Flags::ADMIN.and(Flags::WRITE);

#[rustfmt::skip] // A table.
pub(super) const SUBCOMMANDS: &[Spec] = &[
    command("debug|help", 2, Flags::NONE, Keys::NONE, ("server", "1.0.0"), "Returns helpful text about the different subcommands.", help),
    command("debug|loadaof", 2, FLAGS, Keys::NONE, ("server", "1.0.0"), "Closes all topics and reads them again.", reload),
    command("debug|reload", -2, FLAGS, Keys::NONE, ("server", "1.0.0"), "Closes all topics and reads them again.", reload),
    command("debug|sleep", 3, Flags::ADMIN, Keys::NONE, ("server", "1.0.0"), "Answers after so many seconds; other clients are served meanwhile.", debug_sleep),
];

/// DEBUG LOADAOF and DEBUG RELOAD: lets go of all topics in hand and opens those again that are there.
pub(super) fn reload(call: &mut Call<'_>) -> Answer<Done> {
    let names = call.server.topics.forget_all();
    call.server.store.close_topics();
    for name in names {
        call.server.topics.find(call.server, name.as_bytes())?;
    }
    call.reply().ok();
    Ok(Done::Replied)
}
