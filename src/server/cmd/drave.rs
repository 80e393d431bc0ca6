//! drave's own commands, for what the commands of Redis cannot say: DRAVE.PUBLISH, DRAVE.OFFSET.

use smallvec::SmallVec;

use super::{Done, parse};
use crate::codec::batch::FieldRef;
use crate::config::Durability;
use crate::error::Error;
use crate::ids::Offset;
use crate::server::append::{How, NewRecord};
use crate::server::dispatch::Call;
use crate::server::reading;
use crate::server::refusal::{Answer, Refusal, SYNTAX};

/// What DRAVE.PUBLISH was asked for.
#[derive(Debug, Default)]
struct Publish<'a> {
    how: How,
    key: Option<&'a [u8]>,
    null: bool,
    fields: &'a [&'a [u8]],
}

fn publish_options<'a>(args: &'a [&'a [u8]]) -> Answer<Publish<'a>> {
    let mut publish = Publish::default();
    let mut at = 2;
    while let Some(arg) = args.get(at) {
        if parse::is(arg, "null") {
            publish.null = true;
            at += 1;
            continue;
        }
        let value = args.get(at + 1).copied().ok_or(SYNTAX)?;
        if parse::is(arg, "durability") {
            let level = std::str::from_utf8(value).unwrap_or_default().to_ascii_lowercase();
            publish.how.level = Some(level.parse::<Durability>().map_err(Refusal::err)?);
        } else if parse::is(arg, "key") {
            publish.key = Some(value);
        } else if parse::is(arg, "expect") {
            publish.how.expect = Some(offset_of(value)?);
        } else if parse::is(arg, "fields") {
            publish.fields = &args[at + 2..];
            if usize::try_from(parse::integer(value)?).ok().and_then(|count| count.checked_mul(2)) != Some(publish.fields.len()) {
                return Err(Refusal::text(
                    "ERR the number behind FIELDS must be that of the names and values that follow, in pairs",
                ));
            }
            return Ok(publish);
        } else {
            return Err(SYNTAX);
        }
        at += 2;
    }
    Err(Refusal::text("ERR FIELDS is missing, as in FIELDS 1 value hello"))
}

fn offset_of(arg: &[u8]) -> Answer<Offset> {
    let not_an_offset = || Refusal::text("ERR an offset is a number from 0 on");
    parse::integer(arg).ok().and_then(|number| u64::try_from(number).ok()).map(Offset).ok_or_else(not_an_offset)
}

/// DRAVE.PUBLISH topic [DURABILITY level] [KEY key] [EXPECT offset] [NULL] FIELDS n name value ...: replies with offset,
/// ID and level, once the record is stored at that level.
pub(super) fn publish(call: &mut Call<'_>) -> Answer<Done> {
    let Publish { how, key, null, fields } = publish_options(call.args)?;
    let entry = call.server.topics.find_or_new(call.server, call.arg(1))?;
    let own = entry.settings()?.durability;
    if let Some(asked) = how.level.filter(|asked| *asked < own) {
        return Err(Error::DurabilityLowered { asked, level: own }.into());
    }
    let key = key.map(|key| (&b"key"[..], key));
    let fields: SmallVec<[FieldRef<'_>; 8]> =
        key.into_iter().chain(fields.chunks_exact(2).map(|pair| (pair[0], pair[1]))).collect();
    let record = NewRecord { fields: &fields, null, origin: None };
    let (appended, ticket) = call.server.appender.append_now(call.server, &entry, record, how)?;
    let reply = call.session.output.reply();
    let from = reply.len();
    reply.array(3);
    reply.unsigned(appended.first.0);
    reply.id(appended.first_id);
    reply.bulk(how.level.unwrap_or(own).as_str().as_bytes());
    call.session.output.hold(&ticket, from);
    Ok(Done::Replied)
}

/// DRAVE.OFFSET topic OFFSET n: the ID of the record there; DRAVE.OFFSET topic ID id: the offset of the first record whose ID
/// is not lower. Null when there is none.
pub(super) fn offset(call: &mut Call<'_>) -> Answer<Done> {
    let entry = call.server.topics.find(call.server, call.arg(1))?.ok_or(crate::server::refusal::NO_SUCH_KEY)?;
    let (what, value) = (call.arg(2), call.arg(3));
    let from = if parse::is(what, "offset") {
        offset_of(value)?
    } else if parse::is(what, "id") {
        reading::find(&entry, parse::id(value, 0)?)?
    } else {
        return Err(SYNTAX);
    };
    let mut found = None;
    if from < entry.log().high_watermark() {
        reading::for_each(&entry, from, |record| {
            found = Some((record.offset, record.id));
            false
        })?;
    }
    let wants_id = parse::is(what, "offset");
    let reply = call.reply();
    match found {
        Some((offset, id)) if wants_id && offset == from => reply.id(id),
        Some((offset, _)) if !wants_id => reply.unsigned(offset.0),
        _ => reply.null(),
    }
    Ok(Done::Replied)
}
