//! What happens to a group from outside: processes that end, claims, seeks, and a topic that changes.

use super::*;

impl World {
    pub(super) fn end_process(&mut self, pick: u16, how: u16) {
        let Some(process) = self.process(pick) else { return };
        let now = self.now;
        match how % 4 {
            0 => {
                self.release(process.id);
                self.commit(leave(&self.state, process.id, self.now()));
            }
            1 => {
                self.commit(leave(&self.state, process.id, self.now()));
            }
            2 if how.is_multiple_of(3) => {
                self.commit(remove(&self.state, process.id));
                let held: Vec<EntryKey> = self.records.keys().copied().collect();
                for key in held {
                    if matches!(self.records[&key].status, Status::Held { consumer, .. } if consumer == process.id) {
                        self.settle(key);
                    }
                }
                self.processes.retain(|_, other| other.id != process.id);
                return;
            }
            _ => {}
        }
        let dead = self.processes.values_mut().filter(|other| other.id == process.id);
        dead.for_each(|process| process.died_at = process.died_at.or(Some(now)));
    }

    pub(super) fn claim(&mut self, pick: u16, offset: u16) {
        let Some(process) = self.process(pick).filter(|_| self.end > 0) else { return };
        let offset = Offset(u64::from(offset) % self.end);
        let key = EntryKey::topic(offset);
        let record = self.records[&key];
        let force = pick.is_multiple_of(3) && record.status == Status::Done && self.state.lanes()[0].cursor > offset;
        let count = [Count::Add, Count::Keep, Count::Set(2)][usize::from(pick % 3)];
        let claim = Claim { consumer: process.id, min_idle_ms: 0, count, at: self.now(), force };
        let claimed = super::claim(&self.state, &[offset], &claim, self.now());
        let is_own = matches!(record.status, Status::Held { consumer, .. } if consumer == process.id);
        let may = match record.status {
            Status::Held { .. } => is_own || !self.is_ordered(),
            Status::Waiting { .. } => !self.is_ordered(),
            Status::Done => force && !self.is_ordered() && record.exists,
            Status::Fresh | Status::Dying => false,
        };
        if record.status == Status::Done && !record.exists {
            return;
        }
        assert_eq!(claimed.deliveries.len(), usize::from(may), "{record:?}");
        self.commit(claimed.events);
        for delivery in claimed.deliveries {
            let held = Status::Held { consumer: process.id, lease: delivery.lease, at: self.now, session: process.session };
            self.records.insert(key, Record { status: held, deliveries: delivery.deliveries, ..record });
            assert!(self.receipts.iter().all(|receipt| *receipt != delivery.receipt()));
            self.receipts.push(delivery.receipt());
        }
    }

    pub(super) fn hand_back(&mut self, pick: u16, offset: u16) {
        if self.end == 0 {
            return;
        }
        let offset = Offset(u64::from(offset) % self.end);
        let key = EntryKey::topic(offset);
        let record = self.records[&key];
        let is_done = record.status == Status::Done;
        let force = pick.is_multiple_of(2) && is_done && record.exists && self.state.lanes()[0].cursor > offset;
        let count = [Count::Keep, Count::Undo, Count::Set(1)][usize::from(pick % 3)];
        let how = HandBack { count, delay_ms: u32::from(pick % 500), force };
        let (events, told) = super::hand_back(&self.state, &[key], &how, self.now());
        let may = match record.status {
            Status::Held { .. } => true,
            Status::Waiting { .. } => !self.is_ordered(),
            Status::Done => force && !self.is_ordered(),
            Status::Fresh | Status::Dying => false,
        };
        assert_eq!(told, u64::from(may), "{record:?}");
        self.commit(events);
        if may {
            self.given_back([key].into(), true);
            let status = Status::Waiting { at: self.now, due: self.now + u64::from(how.delay_ms) };
            let deliveries = count.of(if is_done { 0 } else { record.deliveries });
            self.records.insert(key, Record { status, deliveries, ..record });
        }
    }

    pub(super) fn seek(&mut self, to: u16, keep: bool) {
        let to = Offset(u64::from(to) % (self.end + 1));
        let keep = keep && !self.is_ordered();
        self.commit([seek(&self.state, to, Epoch(self.epoch), keep, None)]);
        self.reread.clear();
        for (key, record) in self.records.iter_mut().filter(|(key, _)| key.source == Source::Topic) {
            let is_pending = !matches!(record.status, Status::Fresh | Status::Done);
            if keep && is_pending {
                if key.offset >= to {
                    self.reread.insert(*key);
                }
            } else {
                record.status = if key.offset < to { Status::Done } else { Status::Fresh };
            }
        }
    }

    pub(super) fn clamp(&mut self, to: u16) {
        self.end = self.end.saturating_sub(u64::from(to % 8));
        self.epoch += 1;
        let end = Offset(self.end);
        self.commit(clamp(&self.state, end, Epoch(self.epoch)));
        self.records.retain(|key, _| key.source == Source::DeadLetter || key.offset < end);
        self.reread.retain(|key| key.offset < end);
        self.scans.clear();
    }

    pub(super) fn expire(&mut self, below: u16) {
        let below = Offset(u64::from(below) % (self.end / 2 + 1));
        self.commit(expire(&self.state, below));
        for (key, record) in &mut self.records {
            if key.source == Source::Topic && key.offset < below {
                record.status = Status::Done;
                self.reread.remove(key);
            }
        }
        self.scans.clear();
    }

    /// Those whose names were made up go once they have nothing.
    pub(super) fn forget_passed(&mut self) {
        let holds_any = |id: ConsumerId| {
            let is_its = |record: &Record| matches!(record.status, Status::Held { consumer, .. } if consumer == id);
            self.records.values().any(is_its)
        };
        let passed = self.processes.values().filter(|process| process.manner.is_passing && process.died_at.is_some());
        let passed: Vec<ConsumerId> = passed.map(|process| process.id).filter(|id| !holds_any(*id)).collect();
        let events = forget_passed(&self.state);
        assert_eq!(events, passed.iter().map(|consumer| GroupEvent::Removed { consumer: *consumer }).collect::<Vec<_>>());
        self.commit(events);
        self.processes.retain(|_, process| !passed.contains(&process.id));
    }

    pub(super) fn drop_letters(&mut self, pick: u16) {
        if self.dead_letters == 0 {
            return;
        }
        let offset = Offset(u64::from(pick) % self.dead_letters);
        let key = EntryKey { source: Source::DeadLetter, offset };
        let before = self.records.get(&key).copied();
        let may = before.is_none_or(|record| !matches!(record.status, Status::Done | Status::Dying));
        let (event, count) = drop_letters(&self.state, &[offset]);
        assert_eq!((event.is_some(), count), (may, u64::from(may)));
        self.commit(event);
        if may {
            let done = Record { lane: Lane::ONLY, exists: true, status: Status::Done, deliveries: 0 };
            self.records.insert(key, Record { status: Status::Done, ..before.unwrap_or(done) });
        }
    }

    pub(super) fn revive(&mut self, pick: u16) {
        if self.dead_letters == 0 {
            return;
        }
        let offset = Offset(u64::from(pick) % self.dead_letters);
        let lane = Lane(pick % self.state.lanes().len() as u16);
        let key = EntryKey { source: Source::DeadLetter, offset };
        let is_new = !self.records.contains_key(&key);
        let events = revive(&self.state, &[(offset, lane)], self.now());
        assert_eq!(events.len(), usize::from(is_new), "a letter is tried again once");
        self.commit(events);
        if is_new {
            let status = Status::Waiting { at: self.now, due: self.now };
            self.records.insert(key, Record { lane, exists: true, status, deliveries: 0 });
        }
    }
}
