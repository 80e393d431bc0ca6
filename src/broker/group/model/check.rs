//! What must hold after every step, and in the end.

use super::*;

impl World {
    /// Every record is where the table says.
    pub(super) fn check(&self) {
        for (key, record) in &self.records {
            let entry = self.state.entry(*key);
            let cursor = self.state.lanes()[record.lane.index()].cursor;
            let is_below = key.source == Source::DeadLetter || key.offset < cursor;
            let fits = match (record.status, entry) {
                (Status::Fresh, None) => !is_below || !record.exists,
                (Status::Done, None) => is_below || !record.exists,
                (Status::Held { consumer, lease, .. }, Some(entry)) => {
                    entry.hold == Hold::Leased && entry.consumer == Some(consumer) && entry.lease == lease
                }
                (Status::Waiting { .. }, Some(entry)) => entry.hold == Hold::Waiting,
                (Status::Dying, Some(entry)) => entry.hold == Hold::Dying,
                _ => false,
            };
            assert!(fits, "{key:?} is {record:?} with its cursor at {cursor}, the state has {entry:?}");
            assert!(entry.is_none_or(|entry| entry.deliveries == record.deliveries && entry.lane == record.lane), "{key:?}");
            let committed = self.state.committed();
            let is_settled = matches!(record.status, Status::Done) || !record.exists || key.source == Source::DeadLetter;
            assert!(is_settled || key.offset >= committed.offset, "{committed:?} is above {key:?}, {record:?}");
        }
        let pending = self.records.values().filter(|record| !matches!(record.status, Status::Fresh | Status::Done)).count();
        assert_eq!(self.state.pending_count(), pending as u64);
        for (id, consumer) in self.state.consumers() {
            let is_its = |record: &&Record| matches!(record.status, Status::Held { consumer, .. } if consumer == id);
            assert_eq!(consumer.leased, self.records.values().filter(is_its).count() as u64);
        }
        let members: BTreeSet<ConsumerId> = self.state.consumers().filter(|(_, c)| c.is_member).map(|(id, _)| id).collect();
        if self.is_ordered() && !members.is_empty() {
            let is_leased = |lane: usize| {
                let held = self.records.values().filter(|record| matches!(record.status, Status::Held { .. }));
                held.into_iter().any(|record| record.lane.index() == lane)
            };
            for (index, lane) in self.state.lanes().iter().enumerate() {
                assert!(lane.heir.or(lane.owner).is_some_and(|next| members.contains(&next)), "{lane:?} has nobody");
                assert!(lane.heir.is_none() || is_leased(index), "{lane:?} could have changed hands");
            }
        }
        assert!(self.state.committed().epoch.0 == self.epoch && self.state.delivered_below().0 <= self.end);
    }

    /// All consumers die; one that comes after them gets everything done.
    pub(super) fn drain(&mut self) {
        self.commit(pause(&self.state, false));
        self.commit(configure(&self.state, &GroupSettings { no_ack: false, ..self.state.settings().clone() }).expect("legal"));
        for process in self.processes.values_mut() {
            process.died_at = process.died_at.or(Some(self.now));
        }
        let dead: Vec<ConsumerId> = self.processes.values().map(|process| process.id).collect();
        dead.into_iter().for_each(|id| self.commit(leave(&self.state, id, self.now())));
        self.join(99);
        let process = self.processes[&99];
        for _ in 0..500 {
            self.now += 100_000;
            self.lapse();
            // Nothing to read while all that is left waits.
            let (from, to, records) = self.scan(process.id, false).unwrap_or_default();
            let fresh = Fresh::Read { from, to, records: &records };
            let take = Take { consumer: process.id, count: 100, no_ack: false, letters: true, fresh };
            let taken = super::take(&self.state, &take, self.now());
            let is_done = taken.events.is_empty() && taken.exhausted.is_empty();
            let deliveries = taken.deliveries.clone();
            let exhausted = self.handed_out(&process, taken, false);
            for delivery in deliveries {
                if !self.records[&delivery.key].exists {
                    continue;
                }
                let settled = ack(&self.state, &[delivery.receipt()], self.now());
                self.commit(settled.events);
                self.settle(delivery.key);
            }
            exhausted.into_iter().for_each(|key| self.give_up(key, None, true));
            self.bury();
            self.check();
            if is_done {
                break;
            }
        }
        assert!(self.records.values().all(|record| record.status == Status::Done || !record.exists), "{:?}", self.records);
        assert_eq!((self.state.pending_count(), self.state.committed().offset), (0, Offset(self.end)));
        assert_eq!(self.state.undelivered(Offset(self.end)), 0);
    }
}
