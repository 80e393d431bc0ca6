//! What a journal's events come to, also where some of them are lost.
//!
//! From the first that is lost on, all that is known of a group is what was before: none of the
//! later ones is applied, or the records between would be skipped. Who decides next says
//! [`GroupEvent::Restarted`], and the group goes on from there. A process that knew the lost events
//! forgets them as it reads that, so that all come to one state.

use std::collections::BTreeMap;

use crate::broker::group::GroupState;
use crate::codec::Frame;
use crate::codec::group_event::{BadEvent, GroupEvent};
use crate::ids::Offset;

/// A state, and where it stops.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) state: GroupState,
    /// The first event that is lost, until it is said that the group goes on without.
    pub(super) lost_from: Option<Offset>,
    /// Where the state has to stop, and the place of the event that says so, of which this process
    /// learnt when it had read on beyond.
    restarts: BTreeMap<Offset, Offset>,
}

/// What came of a batch of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// It is taken in, or void.
    Done,
    /// It cannot be read.
    Lost(&'static str),
    /// What was folded before is void: begin anew.
    Anew,
}

impl Folded {
    pub(super) fn new() -> Folded {
        Folded { state: GroupState::new(), lost_from: None, restarts: BTreeMap::new() }
    }

    /// Begins anew, from a state that was stored.
    pub(super) fn begin(&mut self, state: GroupState) {
        (self.state, self.lost_from) = (state, None);
    }

    /// Forgets what was learnt of a stretch of the journal that a crash took.
    pub(super) fn forget_restarts(&mut self) {
        self.restarts.clear();
    }

    /// Takes in the batches of a frame, up to one of which something came; says where that is.
    ///
    /// # Errors
    /// When a newer program wrote one of them.
    pub(super) fn take(
        &mut self,
        frame: &Frame<'_>,
        from: Offset,
        until: Offset,
        scratch: &mut Vec<u8>,
    ) -> Result<(Offset, Fold), BadEvent> {
        let records = match frame.records_in(scratch, from, until) {
            Ok(records) => records,
            Err(why) => return Ok((from, Fold::Lost(why.0))),
        };
        let mut next = from;
        for record in records {
            let fold = match record {
                Ok(record) => {
                    next = record.offset;
                    self.fold(next, record.value().unwrap_or_default())?
                }
                Err(why) => Fold::Lost(why.0),
            };
            if fold != Fold::Done {
                return Ok((next, fold));
            }
            next = next.plus(1);
        }
        Ok((next, Fold::Done))
    }

    fn fold(&mut self, offset: Offset, batch: &[u8]) -> Result<Fold, BadEvent> {
        if self.restarts.contains_key(&offset) {
            self.lost_from.get_or_insert(offset);
        }
        let events = match GroupEvent::decode_batch(batch) {
            Ok(events) => events,
            Err(BadEvent::Malformed(what)) => return Ok(Fold::Lost(what)),
            Err(_) if self.lost_from.is_some() => return Ok(Fold::Done),
            Err(newer) => return Err(newer),
        };
        if let [GroupEvent::Restarted { from, .. }] = events[..] {
            let here = self.lost_from.unwrap_or(offset);
            if from < here && self.restarts.insert(from, offset) != Some(offset) {
                return Ok(Fold::Anew);
            }
            // Otherwise more is lost than was known to who said it, or it was said once more later.
            let is_last = self.restarts.get(&from).is_none_or(|last| *last == offset);
            if from == here && is_last {
                self.lost_from = None;
            }
        }
        if self.lost_from.is_none() {
            events.iter().for_each(|event| self.state.apply(event));
        }
        Ok(Fold::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConsumerId, Epoch, Place, TimestampMs};

    /// Batches by offset; each makes a consumer who is named after it, or says that the group goes
    /// on without what was from an offset on.
    #[derive(Clone, Copy)]
    enum Batch {
        Named(&'static str),
        Restarted(u64),
        Damaged,
    }
    use Batch::{Damaged, Named, Restarted};

    /// Reads a journal as [`super::super::Journal`] does, and says who is known.
    fn read(folded: &mut Folded, from: u64, journal: &[Batch]) -> Vec<String> {
        let mut next = from;
        while let Some(batch) = journal.get(next as usize) {
            let mut bytes = Vec::new();
            match batch {
                Named(name) => {
                    let consumer = ConsumerId(ConsumerId::FIRST.0.saturating_add(next as u32));
                    GroupEvent::Created { consumer, at: TimestampMs(0), name: name.as_bytes().into() }.encode(&mut bytes);
                }
                Restarted(from) => {
                    let at = Place { offset: Offset(next), epoch: Epoch(0) };
                    GroupEvent::Restarted { from: Offset(*from), at }.encode(&mut bytes);
                }
                Damaged => bytes.push(1),
            }
            next += 1;
            match folded.fold(Offset(next - 1), &bytes).expect("known") {
                Fold::Done => {}
                Fold::Lost(_) => drop(folded.lost_from.get_or_insert(Offset(next - 1))),
                Fold::Anew => {
                    folded.begin(GroupState::new());
                    next = 0;
                }
            }
        }
        folded.state.consumers().map(|(_, consumer)| String::from_utf8_lossy(&consumer.name).into_owned()).collect()
    }

    #[test]
    fn what_is_behind_the_damage_is_void_until_the_group_is_restarted() {
        let mut folded = Folded::new();
        let journal = [Named("a"), Damaged, Named("b"), Restarted(1), Named("c")];
        assert_eq!(read(&mut folded, 0, &journal[..3]), ["a"]);
        assert_eq!(folded.lost_from, Some(Offset(1)));
        assert_eq!(read(&mut folded, 3, &journal), ["a", "c"]);
        assert_eq!(folded.lost_from, None);
    }

    #[test]
    fn who_knew_what_is_lost_forgets_it_whether_or_not_it_meets_the_damage() {
        for second in [Damaged, Named("lost")] {
            let mut folded = Folded::new();
            let known = [Named("a"), Named("lost"), Named("b")];
            assert_eq!(read(&mut folded, 0, &known), ["a", "lost", "b"]);
            let journal = [Named("a"), second, Named("b"), Restarted(1), Named("c")];
            assert_eq!(read(&mut folded, 3, &journal), ["a", "c"]);
        }
    }

    #[test]
    fn of_several_restarts_from_one_place_the_last_counts() {
        let mut folded = Folded::new();
        // Who said it last could not read that it had been said.
        let journal = [Named("a"), Named("lost"), Restarted(1), Named("b"), Restarted(1), Named("c")];
        assert_eq!(read(&mut folded, 0, &journal[..4]), ["a", "b"]);
        assert_eq!(read(&mut folded, 4, &journal), ["a", "c"]);
        assert_eq!(read(&mut Folded::new(), 0, &journal), ["a", "c"]);
    }

    #[test]
    fn more_may_be_lost_than_was_known_to_who_restarted_the_group() {
        let journal = [Named("a"), Damaged, Named("b"), Named("lost"), Restarted(3), Named("c"), Restarted(1), Named("d")];
        let mut folded = Folded::new();
        assert_eq!(read(&mut folded, 0, &journal[..6]), ["a"]);
        assert_eq!(folded.lost_from, Some(Offset(1)));
        assert_eq!(read(&mut folded, 6, &journal), ["a", "d"]);
    }

    #[test]
    fn an_event_of_a_newer_program_is_told_where_it_counts() {
        assert_eq!(Folded::new().fold(Offset(0), &[99]), Err(BadEvent::UnknownKind(99)));
        let mut folded = Folded { lost_from: Some(Offset(0)), ..Folded::new() };
        assert_eq!(folded.fold(Offset(1), &[99]), Ok(Fold::Done));
    }
}
