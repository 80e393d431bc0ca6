//! Reading a stretch of a topic: XLEN, XRANGE, XREVRANGE.

use super::{Done, parse};
use crate::ids::RecordId;
use crate::server::dispatch::Call;
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal, SYNTAX};

pub(super) fn xlen(call: &mut Call<'_>) -> Answer<Done> {
    let from = call.reply().len();
    let Some(entry) = call.server.topics.find(call.server, call.arg(1))? else {
        call.reply().integer(0);
        return Ok(Done::Replied);
    };
    let end = entry.log().visible_end();
    call.reply().unsigned(entry.log().live_count_until(end)?);
    reading::hold(call.server, call.session, from, &[(entry, end)])?;
    Ok(Done::Replied)
}

/// The first ID of an interval.
pub(in crate::server) fn start_of(arg: &[u8]) -> Answer<RecordId> {
    match arg {
        b"-" => Ok(RecordId::ZERO),
        b"+" => Ok(parse::ID_MAX),
        [b'(', rest @ ..] => {
            let id = parse::id(rest, 0)?;
            id.successor().ok_or(Refusal::text("ERR invalid start ID for the interval"))
        }
        id => parse::id(id, 0),
    }
}

/// The last ID of an interval.
pub(in crate::server) fn end_of(arg: &[u8]) -> Answer<RecordId> {
    match arg {
        b"-" => Ok(RecordId::ZERO),
        b"+" => Ok(parse::ID_MAX),
        [b'(', rest @ ..] => {
            let id = parse::id(rest, u64::MAX)?;
            predecessor(id).ok_or(Refusal::text("ERR invalid end ID for the interval"))
        }
        id => parse::id(id, u64::MAX),
    }
}

fn predecessor(id: RecordId) -> Option<RecordId> {
    match id.seq.checked_sub(1) {
        Some(seq) => Some(RecordId { ms: id.ms, seq }),
        None => Some(RecordId { ms: id.ms.checked_sub(1)?, seq: u64::MAX }),
    }
}

pub(super) fn xrange(call: &mut Call<'_>) -> Answer<Done> {
    range(call, false)
}

pub(super) fn xrevrange(call: &mut Call<'_>) -> Answer<Done> {
    range(call, true)
}

fn range(call: &mut Call<'_>, is_reverse: bool) -> Answer<Done> {
    let (start, end) = if is_reverse { (call.arg(3), call.arg(2)) } else { (call.arg(2), call.arg(3)) };
    let (start, end) = (start_of(start)?, end_of(end)?);
    let count = match call.args.get(4..).unwrap_or_default() {
        [] => None,
        [word, count] if parse::is(word, "count") => Some(parse::integer(count)?),
        _ => return Err(SYNTAX),
    };
    let Some(entry) = call.server.topics.find(call.server, call.arg(1))? else {
        call.reply().array(0);
        return Ok(Done::Replied);
    };
    let count = match count {
        Some(count) if count <= 0 => {
            call.reply().null_array();
            return Ok(Done::Replied);
        }
        count => count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX)),
    };
    let reply = call.session.output.reply();
    let at = reply.len();
    let told = if start > end {
        reading::Told::default()
    } else if is_reverse {
        reading::put_backward(reply, &entry, start, end, count)?
    } else {
        reading::put_forward(reply, &entry, reading::find(&entry, start)?, end, count)?
    };
    reply.begin_array_at(at, told.count);
    entry.traffic.note_read(told.count, told.bytes);
    reading::hold(call.server, call.session, at, &[(entry, told.end)])?;
    Ok(Done::Replied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::refusal::INVALID_ID;

    #[test]
    fn intervals_may_leave_their_ends_out() {
        assert_eq!(start_of(b"(5-3"), Ok(RecordId { ms: 5, seq: 4 }));
        assert_eq!(end_of(b"(5-0"), Ok(RecordId { ms: 4, seq: u64::MAX }));
        assert_eq!(end_of(b"(0"), Ok(RecordId { ms: 0, seq: u64::MAX - 1 }));
        assert_eq!(end_of(b"5"), Ok(RecordId { ms: 5, seq: u64::MAX }));
        let last = b"(18446744073709551615-18446744073709551615";
        assert_eq!(start_of(last), Err(Refusal::text("ERR invalid start ID for the interval")));
        assert_eq!(end_of(b"(0-0"), Err(Refusal::text("ERR invalid end ID for the interval")));
        for bad in [&b"("[..], b"(-", b"(+", b"", b"x"] {
            assert_eq!(start_of(bad), Err(INVALID_ID));
        }
    }
}
