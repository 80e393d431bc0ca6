//! What all topics are called, listed again only when something was made or deleted.
//!
//! SCAN walks through them in the order of a hash: a cursor is the hash to go on with, and means the
//! same whatever was made or deleted meanwhile, also to another server.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::refusal::Answer;
use super::state::Server;
use crate::ids::TopicName;

/// Clocks of file systems tick this slowly: a list that is younger than the directory's time and this
/// may lack something.
const TICK_MS: u64 = 20;
/// A list that nobody wants for so long is let go: 100,000 names take some 10 MB.
const KEPT: Duration = Duration::from_secs(60);
/// Some clients take a cursor for a floating-point number.
const HASH_BITS: u32 = 53;

/// Topics by the hashes of their names.
pub(super) type Sorted = Rc<[(u64, TopicName)]>;

/// The last list.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<Option<List>>);

#[derive(Debug)]
struct List {
    names: Sorted,
    /// When the directory was changed before it was listed; `None` = too short a time before.
    modified_ms: Option<u64>,
    used: Instant,
}

impl Names {
    /// All names there are now; some may be on their way out.
    pub(super) fn all(&self, server: &Server) -> Answer<Sorted> {
        let modified_ms = server.store.root().stat(crate::store::TOPICS)?.map(|meta| meta.modified_ms);
        if let Some(list) = &mut *self.0.borrow_mut()
            && modified_ms.is_some()
            && list.modified_ms == modified_ms
        {
            list.used = Instant::now();
            return Ok(Rc::clone(&list.names));
        }
        let began = server.now().0;
        let mut names: Vec<_> =
            server.store.list_topics()?.into_iter().map(|topic| (hash(topic.name.as_bytes()), topic.name)).collect();
        names.sort_unstable();
        let names: Sorted = names.into();
        let modified_ms = modified_ms.filter(|modified| modified.saturating_add(TICK_MS) < began);
        *self.0.borrow_mut() = Some(List { names: Rc::clone(&names), modified_ms, used: Instant::now() });
        Ok(names)
    }

    /// Names for a walk that goes on: what is there all the time since it began is among them.
    pub(super) fn since_then(&self, server: &Server) -> Answer<Sorted> {
        // Each walk begins with all(), so a list is never older than any walk.
        if let Some(list) = &mut *self.0.borrow_mut() {
            list.used = Instant::now();
            return Ok(Rc::clone(&list.names));
        }
        self.all(server)
    }

    /// Lets the list go if nobody wants it.
    pub(super) fn let_go(&self) {
        let mut list = self.0.borrow_mut();
        if list.as_ref().is_some_and(|list| list.used.elapsed() > KEPT) {
            *list = None;
        }
    }
}

/// FNV-1a, folded; never 0, which is where a walk begins and ends.
fn hash(name: &[u8]) -> u64 {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    ((hash ^ hash >> HASH_BITS) & ((1 << HASH_BITS) - 1)).max(1)
}

/// A step of a walk: some `count` names from this cursor on, and the cursor to go on with, 0 = none.
pub(super) fn step(names: &[(u64, TopicName)], cursor: u64, count: usize) -> (&[(u64, TopicName)], u64) {
    let from = names.partition_point(|(hash, _)| *hash < cursor);
    let until = from.saturating_add(count.max(1)).min(names.len());
    // Names with the same hash go together.
    let last = until.checked_sub(1).filter(|last| *last >= from).map_or(0, |last| names[last].0);
    let until = names.partition_point(|(hash, _)| *hash <= last).max(from);
    (&names[from..until], names.get(until).map_or(0, |(hash, _)| *hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_meets_every_name_once_also_those_with_one_hash() {
        let names: Vec<(u64, TopicName)> = [1, 1, 1, 5, 5, 8, 9]
            .into_iter()
            .enumerate()
            .map(|(index, hash)| (hash, TopicName::new(format!("{index}").as_bytes()).expect("legal")))
            .collect();
        for count in 1..9 {
            let (mut met, mut cursor) = (Vec::new(), 0);
            loop {
                let (some, next) = step(&names, cursor, count);
                met.extend_from_slice(some);
                assert!(some.len() <= count + 2);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(met, names, "{count}");
        }
        assert_eq!(step(&names, 10, 3), (&[][..], 0));
        assert_eq!(step(&[], 0, 3), (&[][..], 0));
        assert!((0..10_000).all(|n| (1..1 << 53).contains(&hash(format!("{n}").as_bytes()))));
    }
}
