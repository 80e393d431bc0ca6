//! The topics that are open: a bounded number, the least recently used one goes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Topic;
use crate::ids::TopicName;

/// An open topic takes three descriptors; most systems allow 1024.
const OPEN_MAX: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Cache {
    topics: HashMap<TopicName, (u64, Arc<Topic>)>,
    tick: u64,
}

impl Cache {
    pub(super) fn get(&mut self, name: &TopicName) -> Option<Arc<Topic>> {
        self.tick += 1;
        let (used, topic) = self.topics.get_mut(name)?;
        *used = self.tick;
        Some(Arc::clone(topic))
    }

    pub(super) fn put(&mut self, topic: &Arc<Topic>) {
        self.tick += 1;
        self.topics.insert(topic.name().clone(), (self.tick, Arc::clone(topic)));
        if self.topics.len() > OPEN_MAX
            && let Some(oldest) = self.topics.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone())
        {
            self.topics.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, name: &TopicName) {
        self.topics.remove(name);
    }
}
