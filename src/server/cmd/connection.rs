//! What concerns the connection itself.

use super::Done;
use crate::codec::resp::Protocol;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal};

pub(super) fn ping(call: &mut Call<'_>) -> Answer<Done> {
    if call.args.len() > 2 {
        return Err(Refusal::wrong_arity("ping"));
    }
    let message = call.args.get(1).copied();
    if call.session.output.protocol() == Protocol::Resp2 && !call.session.subscriptions.is_empty() {
        let reply = call.reply();
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or_default());
        return Ok(Done::Replied);
    }
    match message {
        Some(message) => call.reply().bulk(message),
        None => call.reply().simple("PONG"),
    }
    Ok(Done::Replied)
}

pub(super) fn echo(call: &mut Call<'_>) -> Answer<Done> {
    let message = call.arg(1);
    call.reply().bulk(message);
    Ok(Done::Replied)
}

pub(super) fn quit(call: &mut Call<'_>) -> Answer<Done> {
    call.reply().ok();
    Ok(Done::Close)
}
