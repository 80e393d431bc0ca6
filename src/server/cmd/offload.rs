//! Work that may take long (it waits for the disk, or for another process) on another thread: the
//! client waits for it, and nobody else does.

use std::cell::RefCell;
use std::rc::Rc;

use super::Done;
use crate::codec::resp::Reply;
use crate::server::dispatch::Call;
use crate::server::refusal::{Answer, Refusal};
use crate::server::session::{Session, Waiting};
use crate::server::state::Server;

type Write<T> = Box<dyn FnOnce(&Rc<Server>, T, &mut Session) -> Answer>;

/// Work that is under way.
struct Offloaded<T> {
    outcome: Rc<RefCell<Option<Answer<T>>>>,
    write: Option<Write<T>>,
}

impl<T> std::fmt::Debug for Offloaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("work on another thread")
    }
}

/// Has `work` done elsewhere, and then `write` its reply. Within EXEC nothing waits: it is done here.
pub(in crate::server) fn offload<T: Send + 'static>(
    call: &mut Call<'_>,
    work: impl FnOnce() -> crate::Result<T> + Send + 'static,
    write: impl FnOnce(&Rc<Server>, T, &mut Reply) -> Answer + 'static,
) -> Answer<Done> {
    offload_held(call, work, |server, done, session| write(server, done, session.output.reply()))
}

/// The same for a reply that has to wait for something even then.
pub(in crate::server) fn offload_held<T: Send + 'static>(
    call: &mut Call<'_>,
    work: impl FnOnce() -> crate::Result<T> + Send + 'static,
    write: impl FnOnce(&Rc<Server>, T, &mut Session) -> Answer + 'static,
) -> Answer<Done> {
    if call.session.is_in_exec {
        let done = work()?;
        write(call.server, done, call.session)?;
        return Ok(Done::Replied);
    }
    let outcome = Rc::new(RefCell::new(None));
    let (client, slot) = (Rc::clone(call.client), Rc::clone(&outcome));
    tokio::task::spawn_local(async move {
        let stopped = || Err(Refusal::text("ERR the work was given up; look whether it was done"));
        let done = tokio::task::spawn_blocking(work).await.map_or_else(|_| stopped(), |done| done.map_err(Refusal::from));
        *slot.borrow_mut() = Some(done);
        client.wake();
    });
    Ok(Done::Wait { command: Box::new(Offloaded { outcome, write: Some(Box::new(write)) }), limit: None })
}

impl<T> Waiting for Offloaded<T> {
    fn try_again(&mut self, server: &Rc<Server>, session: &mut Session) -> Answer<bool> {
        let Some(outcome) = self.outcome.take() else { return Ok(false) };
        if let Some(write) = self.write.take() {
            write(server, outcome?, session)?;
        }
        Ok(true)
    }

    fn keys(&self) -> Vec<&[u8]> {
        Vec::new()
    }

    fn is_blocking(&self) -> bool {
        false
    }
}
