//! XADD.

use smallvec::SmallVec;

use super::offload::offload_held;
use super::references::References;
use super::xtrim::Trim;
use super::{Done, parse};
use crate::codec::Origin;
use crate::codec::batch::FieldRef;
use crate::codec::origin::name_of_fields;
use crate::ids::RecordId;
use crate::server::append::{How, NewRecord};
use crate::server::dispatch::Call;
use crate::server::once::{self, Knowing};
use crate::server::refusal::{Answer, Refusal, SYNTAX};
use crate::server::topics::Entry;
use std::rc::Rc;
use std::sync::Arc;

/// Which ID the record is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Auto,
    /// The next one in this millisecond.
    InMs(u64),
    Exactly(RecordId),
}

/// Which message the record is, so that it is added once.
#[derive(Clone, Copy, Debug)]
struct Once<'a> {
    producer: &'a [u8],
    /// `None` = it is known by its fields.
    message: Option<&'a [u8]>,
}

impl<'a> Once<'a> {
    /// Reads `IDMP producer message` or `IDMPAUTO producer` if it stands at `at`; moves `at` behind it.
    fn read(args: &[&'a [u8]], at: &mut usize, before: Option<Once<'a>>) -> Answer<Option<Once<'a>>> {
        let Some(word) = args.get(*at) else { return Ok(None) };
        let is_named = parse::is(word, "idmp");
        if !is_named && !parse::is(word, "idmpauto") {
            return Ok(None);
        }
        if before.is_some() {
            return Err(Refusal::text("ERR syntax error, IDMP/IDMPAUTO specified multiple times"));
        }
        let count = if is_named { 2 } else { 1 };
        let given = args.get(*at + 1..=*at + count).ok_or(SYNTAX)?;
        *at += 1 + count;
        match *given {
            [b"", _] => Err(Refusal::text("ERR IDMP requires a non-empty producer ID")),
            [_, b""] => Err(Refusal::text("ERR IDMP requires a non-empty idempotent ID")),
            [b""] => Err(Refusal::text("ERR IDMPAUTO requires a non-empty producer ID")),
            [producer] => Ok(Some(Once { producer, message: None })),
            [producer, message] => Ok(Some(Once { producer, message: Some(message) })),
            _ => Err(SYNTAX),
        }
    }
}

/// What stands before the fields.
#[derive(Debug)]
struct Options<'a> {
    no_create: bool,
    trim: Option<Trim>,
    id: Wanted,
    once: Option<Once<'a>>,
    /// Where the fields begin.
    fields_at: usize,
}

fn options<'a>(args: &[&'a [u8]]) -> Answer<Options<'a>> {
    let mut at = 2;
    let (mut no_create, mut trim, mut limit, mut references) = (false, None, None, None);
    let mut once = None;
    while let Some(arg) = args.get(at) {
        if parse::is(arg, "nomkstream") {
            no_create = true;
            at += 1;
        } else if let Some(read) = Trim::read(args, &mut at, trim)? {
            trim = Some(read);
        } else if let Some(read) = Trim::read_limit(args, &mut at)? {
            limit = Some(read);
        } else if let Some(read) = Once::read(args, &mut at, once)? {
            once = Some(read);
        } else if let Some(read) = References::read(arg)
            && references.is_none()
        {
            references = Some(read);
            at += 1;
        } else {
            break;
        }
    }
    let trim = Trim::completed(trim, limit, references.unwrap_or(References::Keep))?;
    let id = match args.get(at) {
        Some(&b"*") => Wanted::Auto,
        Some(arg) => match parse::id_of_ms(arg) {
            Some(ms) => Wanted::InMs(ms),
            None => Wanted::Exactly(parse::id(arg, 0)?),
        },
        None => return Err(Refusal::wrong_arity("xadd")),
    };
    if once.is_some() && id != Wanted::Auto {
        return Err(Refusal::text("ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs"));
    }
    if id == Wanted::Exactly(RecordId::ZERO) {
        return Err(Refusal::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let fields_at = at + 1;
    let count = args.len().saturating_sub(fields_at);
    if count == 0 || !count.is_multiple_of(2) {
        return Err(Refusal::wrong_arity("xadd"));
    }
    Ok(Options { no_create, trim, id, once, fields_at })
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
    if let Some(once) = options.once {
        return add_once(call, entry, once, &fields, options.trim);
    }
    let record = NewRecord { fields: &fields, null: false, origin: None };
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

/// Adds a record whose message may have been sent before.
fn add_once(call: &mut Call<'_>, entry: Rc<Entry>, sent: Once<'_>, fields: &[FieldRef<'_>], trim: Option<Trim>) -> Answer<Done> {
    let name = sent.message.is_none().then(|| name_of_fields(fields));
    let message = sent.message.or(name.as_ref().map(|name| &name[..])).unwrap_or_default();
    let origin = Origin { producer: sent.producer, message, at: call.server.now() };
    let knowing = Knowing::of(call.server, &entry)?;
    if !knowing.is_long(&entry) {
        let record = NewRecord { fields, null: false, origin: Some(origin) };
        once::add(call.server, call.session, &entry, record, trim)?;
        return Ok(Done::Replied);
    }
    let log = Arc::clone(entry.log());
    let (producer, message) = (origin.producer.to_vec(), origin.message.to_vec());
    let fields: Vec<(Vec<u8>, Vec<u8>)> = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    offload_held(
        call,
        move || knowing.load(&log),
        move |server, seen, session| {
            once::take_over(server, &entry, seen);
            let fields: Vec<FieldRef<'_>> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let origin = Origin { producer: &producer, message: &message, at: server.now() };
            once::add(server, session, &entry, NewRecord { fields: &fields, null: false, origin: Some(origin) }, trim)
        },
    )
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
