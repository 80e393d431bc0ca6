//! Retention and compaction while the server runs, on another thread.

use std::rc::Rc;

use tracing::warn;

use super::state::Server;
use crate::broker::keep_store;
use crate::error::Error;
use crate::job::Job;

/// The task that looks after all topics, every now and then.
pub(super) async fn run(server: Rc<Server>, job: Job) {
    loop {
        tokio::time::sleep(server.options.upkeep_every).await;
        let (store, own) = (server.store, job.clone());
        match tokio::task::spawn_blocking(move || keep_store(store, &own)).await {
            Ok(Err(Error::Stopped)) => return,
            Ok(Err(error)) => warn!(%error, "retention and compaction could not look at the topics"),
            Ok(Ok(())) | Err(_) => {}
        }
    }
}
