//! Being done with entries of a group, or giving them back: XACK, XACKDEL, XNACK.

use smallvec::SmallVec;

use super::references::{Owed, References};
use super::xdel::{delete, look_up, read_ids};
use super::xpending::no_group;
use super::{Done, parse};
use crate::broker::group::HandBack;
use crate::codec::group_event::Count;
use crate::ids::RecordId;
use crate::server::dispatch::Call;
use crate::server::groups;
use crate::server::refusal::{Answer, Refusal, SYNTAX};

pub(super) fn xack(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let Some((entry, group)) = groups::find(call.server, call.arg(1), call.arg(2))? else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    let ids = call.args[3..].iter().map(|arg| parse::id(arg, 0)).collect::<Answer<SmallVec<[RecordId; 128]>>>()?;
    let acked = match group.shared.borrow_mut().ack(&ids) {
        Err(error) if groups::is_gone(&error) => 0,
        other => other?,
    };
    call.reply().unsigned(acked);
    if acked > 0 {
        group.owe(call, &entry, from)?;
    }
    Ok(Done::Replied)
}

/// XNACK key group SILENT|FAIL|FATAL IDS n id ... [RETRYCOUNT n] [FORCE]: gives entries back, to be
/// delivered again at once.
pub(super) fn xnack(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let (key, name) = (call.arg(1), call.arg(2));
    let modes = [("silent", Count::Undo), ("fail", Count::Keep), ("fatal", Count::Set(u32::MAX))];
    let mode = modes.iter().find(|(word, _)| parse::is(call.arg(3), word)).ok_or(SYNTAX)?;
    let mut how = HandBack { count: mode.1, delay_ms: 0, force: false };
    let mut end = call.args.len();
    loop {
        match &call.args[4.min(end)..end] {
            [.., word] if parse::is(word, "force") => (how.force, end) = (true, end - 1),
            [.., word, count] if parse::is(word, "retrycount") => {
                let bad = || Refusal::text("ERR Invalid RETRYCOUNT option argument for XNACK");
                let count = parse::integer(count).ok().and_then(|count| u32::try_from(count).ok()).ok_or_else(bad)?;
                (how.count, end) = (Count::Set(count), end - 2);
            }
            _ => break,
        }
    }
    let ids = read_ids(&call.args[..end], 4)?;
    let (entry, group) = groups::find(call.server, key, name)?.ok_or_else(|| no_group(key, name))?;
    let released = group.shared.borrow_mut().hand_back(&ids, &how);
    let released = released.map_err(|error| groups::gone_or(error, || no_group(key, name)))?;
    call.reply().unsigned(released);
    if released > 0 {
        group.owe(call, &entry, from)?;
        call.server.waiters.wake(key);
    }
    Ok(Done::Replied)
}

/// XACKDEL key group [KEEPREF|DELREF|ACKED] IDS n id ...: settles entries, and deletes their records. Says
/// what became of each.
pub(super) fn xackdel(call: &mut Call<'_>) -> Answer<Done> {
    let mut at = 3;
    let references = References::read(call.arg(at)).inspect(|_| at += 1).unwrap_or(References::Keep);
    let ids = read_ids(call.args, at)?;
    let Some((entry, group)) = groups::find(call.server, call.arg(1), call.arg(2))? else {
        let reply = call.reply();
        reply.array(ids.len());
        ids.iter().for_each(|_| reply.integer(-1));
        return Ok(Done::Replied);
    };
    let mut shared = group.shared.borrow_mut();
    let pending = shared.are_pending(&ids)?;
    let own: Vec<RecordId> = ids.iter().zip(&pending).filter(|(_, pending)| **pending).map(|(id, _)| *id).collect();
    let acked = shared.ack(&own)?;
    drop(shared);
    let mut found = look_up(&entry, &own)?;
    let (kept, mut owed) = references.release(call.server, &entry, &mut found)?;
    if acked > 0 {
        owed.extend(Owed::of(call.server, &entry, &group)?);
    }
    let code = |(id, pending): (&RecordId, &bool)| match pending {
        false => -1,
        true if kept.contains(id) => 2,
        true => 1,
    };
    let codes: Vec<i64> = ids.iter().zip(&pending).map(code).collect();
    delete(call, &entry, &found, owed, move |_, reply| {
        reply.array(codes.len());
        codes.iter().for_each(|code| reply.integer(*code));
    })
}
