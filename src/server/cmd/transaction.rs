//! Transactions: commands that are kept back, and then run with nothing between them, if nothing that
//! was watched has changed.

use smallvec::SmallVec;

use super::Done;
use crate::server::client::Client;
use crate::server::dispatch::{self, Call};
use crate::server::refusal::{Answer, Refusal};
use crate::server::session::{Session, Transaction, Watched};

/// MULTI
pub(super) fn multi(call: &mut Call<'_>) -> Answer<Done> {
    if call.session.transaction.is_some() {
        return Err(Refusal::text("ERR MULTI calls can not be nested"));
    }
    call.session.transaction = Some(Transaction::default());
    call.client.facts.queued.set(Some(0));
    call.reply().ok();
    Ok(Done::Replied)
}

/// EXEC
///
/// The records that its XADDs add in a row go into one batch each topic, so they are durable together.
pub(super) fn exec(call: &mut Call<'_>) -> Answer<Done> {
    let Some(transaction) = call.session.transaction.take() else {
        return Err(Refusal::text("ERR EXEC without MULTI"));
    };
    let has_changed = has_changed(call);
    forget(call.session, call.client);
    if transaction.is_spoilt {
        return Err(Refusal::text("EXECABORT Transaction discarded because of previous errors."));
    }
    if has_changed? {
        call.reply().null_array();
        return Ok(Done::Replied);
    }
    // What came before is not to come within the array.
    call.deliver_mail();
    call.reply().array(transaction.queued.len());
    call.session.is_in_exec = true;
    for queued in &transaction.queued {
        let args: SmallVec<[&[u8]; 16]> = queued.args.iter().map(|arg| &**arg).collect();
        dispatch::execute(call.server, call.client, call.session, queued.spec, &args);
    }
    call.session.is_in_exec = false;
    Ok(Done::Replied)
}

/// DISCARD
pub(super) fn discard(call: &mut Call<'_>) -> Answer<Done> {
    if call.session.transaction.is_none() {
        return Err(Refusal::text("ERR DISCARD without MULTI"));
    }
    forget(call.session, call.client);
    call.reply().ok();
    Ok(Done::Replied)
}

/// WATCH key [key ...]
pub(super) fn watch(call: &mut Call<'_>) -> Answer<Done> {
    if call.session.transaction.is_some() {
        return Err(Refusal::text("ERR WATCH inside MULTI is not allowed"));
    }
    call.server.appender.flush_all(call.server);
    for key in &call.args[1..] {
        if !call.session.watched.contains_key(*key) {
            let watched = match call.server.topics.find(call.server, key)? {
                Some(entry) => Some(Watched { version: entry.version()?, entry }),
                None => None,
            };
            call.session.watched.insert((*key).into(), watched);
        }
    }
    call.client.facts.watching.set(call.session.watched.len());
    call.reply().ok();
    Ok(Done::Replied)
}

/// UNWATCH
pub(super) fn unwatch(call: &mut Call<'_>) -> Answer<Done> {
    call.session.watched.clear();
    call.client.facts.watching.set(0);
    call.reply().ok();
    Ok(Done::Replied)
}

/// Neither MULTI nor WATCH are in force any more.
pub(super) fn forget(session: &mut Session, client: &Client) {
    session.transaction = None;
    session.watched.clear();
    client.facts.queued.set(None);
    client.facts.queued_bytes.set(0);
    client.facts.watching.set(0);
}

/// Whether something was done to a watched topic since.
fn has_changed(call: &mut Call<'_>) -> Answer<bool> {
    if call.session.watched.is_empty() {
        return Ok(false);
    }
    call.server.appender.flush_all(call.server);
    for (key, watched) in &call.session.watched {
        let now = call.server.topics.find(call.server, key)?.map(|entry| entry.version()).transpose()?;
        if now != watched.as_ref().map(|watched| watched.version) {
            return Ok(true);
        }
    }
    Ok(false)
}
