//! XADD.

use smallvec::SmallVec;

use super::references::References;
use super::xtrim::Trim;
use super::{Done, parse};
use crate::codec::batch::FieldRef;
use crate::ids::RecordId;
use crate::server::append::{How, NewRecord};
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::topics::Entry;
use std::rc::Rc;

/// Which ID the record is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Auto,
    /// The next one in this millisecond.
    InMs(u64),
    Exactly(RecordId),
}

/// What stands before the fields.
#[derive(Debug)]
struct Options {
    no_create: bool,
    trim: Option<Trim>,
    references: References,
    id: Wanted,
    /// Where the fields begin.
    fields_at: usize,
}

fn options(args: &[&[u8]]) -> Answer<Options> {
    let mut at = 2;
    let (mut no_create, mut trim, mut limit, mut references) = (false, None, None, References::Keep);
    while let Some(arg) = args.get(at) {
        if parse::is(arg, "nomkstream") {
            no_create = true;
            at += 1;
        } else if let Some(read) = Trim::read(args, &mut at, trim)? {
            trim = Some(read);
        } else if let Some(read) = Trim::read_limit(args, &mut at)? {
            limit = Some(read);
        } else if let Some(read) = References::read(arg) {
            references = read;
            at += 1;
        } else {
            break;
        }
    }
    let trim = Trim::limited(trim, limit)?;
    let id = match args.get(at) {
        Some(&b"*") => Wanted::Auto,
        Some(arg) => match parse::id_of_ms(arg) {
            Some(ms) => Wanted::InMs(ms),
            None => Wanted::Exactly(parse::id(arg, 0)?),
        },
        None => return Err(Refusal::wrong_arity("xadd")),
    };
    if id == Wanted::Exactly(RecordId::ZERO) {
        return Err(Refusal::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let fields_at = at + 1;
    let count = args.len().saturating_sub(fields_at);
    if count == 0 || !count.is_multiple_of(2) {
        return Err(Refusal::wrong_arity("xadd"));
    }
    Ok(Options { no_create, trim, references, id, fields_at })
}

pub(super) fn xadd(call: &mut Call<'_>) -> Answer<Done> {
    let options = options(call.args)?;
    let topics = &call.server.topics;
    let entry = if options.no_create {
        match topics.find(call.server, call.arg(1))? {
            Some(entry) => entry,
            None => {
                call.reply().null();
                return Ok(Done::Replied);
            }
        }
    } else {
        topics.find_or_new(call.server, call.arg(1))?
    };
    let fields: SmallVec<[FieldRef<'_>; 8]> =
        call.args[options.fields_at..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    options.references.check(&entry)?;
    let record = NewRecord { fields: &fields, null: false };
    let appender = &call.server.appender;
    if options.id == Wanted::Auto {
        let (ticket, index) = appender.add(call.server, &entry, record, options.trim)?;
        call.session.output.owe_id(&ticket, index);
        return Ok(Done::Replied);
    }
    appender.flush(call.server, &entry);
    let id = match options.id {
        Wanted::InMs(ms) => next_in_ms(&entry, ms)?,
        Wanted::Exactly(id) => id,
        Wanted::Auto => return Err(SYNTAX),
    };
    let how = How { id: Some(id), trim: options.trim, ..How::default() };
    let (_, ticket) = appender.append_now(call.server, &entry, record, how)?;
    call.session.output.owe_id(&ticket, 0);
    Ok(Done::Replied)
}

/// The next ID of the millisecond.
fn next_in_ms(entry: &Rc<Entry>, ms: u64) -> Answer<RecordId> {
    let last = entry.log().counters().last_id;
    let too_low = || Refusal::text("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    match ms.cmp(&last.ms) {
        std::cmp::Ordering::Less => Err(too_low()),
        std::cmp::Ordering::Equal => last.seq.checked_add(1).map(|seq| RecordId { ms, seq }).ok_or_else(too_low),
        std::cmp::Ordering::Greater => Ok(RecordId { ms, seq: 0 }),
    }
}
