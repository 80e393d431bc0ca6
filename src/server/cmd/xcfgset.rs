//! XCFGSET: how long a topic knows the messages that were sent to it, and how many.

use std::time::Duration;

use super::offload::offload;
use super::{Done, parse};
use crate::job::Job;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, NO_SUCH_KEY, Refusal, SYNTAX};
use crate::units;

/// XCFGSET key [IDMP-DURATION seconds] [IDMP-MAXSIZE count]
pub(super) fn xcfgset(call: &mut Call<'_>) -> Answer<Done> {
    let (mut window, mut size) = (None, None);
    if call.args.len() == 2 {
        return Err(Refusal::text("ERR At least one parameter must be specified"));
    }
    for pair in call.args[2..].chunks(2) {
        let [word, value] = pair else { return Err(SYNTAX) };
        if parse::is(word, "idmp-duration") {
            let seconds = u64::try_from(parse::integer(value)?).ok().filter(|seconds| (1..=86_400).contains(seconds));
            let seconds = seconds.ok_or(Refusal::text("ERR IDMP-DURATION must be between 1 and 86400 seconds"))?;
            window = Some(Duration::from_secs(seconds));
        } else if parse::is(word, "idmp-maxsize") {
            let count = u64::try_from(parse::integer(value)?).ok().filter(|count| (1..=10_000).contains(count));
            size = Some(count.ok_or(Refusal::text("ERR IDMP-MAXSIZE must be between 1 and 10000 entries"))?);
        } else {
            return Err(SYNTAX);
        }
    }
    let entry = call.server.topics.find(call.server, call.arg(1))?.ok_or(NO_SUCH_KEY)?;
    let settings = entry.settings()?;
    let mut changes = Vec::new();
    if let Some(window) = window.filter(|window| *window != settings.dedup_window) {
        changes.push(("dedup-window".to_owned(), units::format_duration(window)));
    }
    if let Some(size) = size.filter(|size| *size != settings.dedup_size) {
        changes.push(("dedup-size".to_owned(), size.to_string()));
    }
    if changes.is_empty() {
        call.reply().ok();
        return Ok(Done::Replied);
    }
    // A change forgets all messages that were sent before.
    changes.push(("dedup-after".to_owned(), entry.log().counters().last_id.to_string()));
    let (store, topic) = (call.server.store, std::sync::Arc::clone(&entry.topic));
    offload(
        call,
        move || store.configure(&topic, &changes, &Job::new()),
        |_, (), reply| {
            reply.ok();
            Ok(())
        },
    )
}
