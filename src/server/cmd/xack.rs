//! XACK: being done with entries of a group.

use smallvec::SmallVec;

use super::{Done, parse};
use crate::ids::RecordId;
use crate::server::dispatch::Call;
use crate::server::groups;
use crate::server::refusal::Answer;

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
