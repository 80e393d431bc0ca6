//! What a power cut could have left of a tree.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Random;
use super::tree::{Body, DataChange, Event, NodeId, ROOT, Tree, apply};

/// What becomes of data that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFate {
    /// All of it is lost.
    Lost,
    /// All of it was written by chance.
    Kept,
    /// All but the last write to each file, of which only the beginning was.
    Torn,
    /// Up to some moment.
    Prefix,
    /// Any of it: each write wholly, in part, or not at all; what lies between reads as zeros.
    Shuffled,
    /// As `Shuffled`, but files are as long as they were.
    Zeros,
}

/// What becomes of names that were changed since their directory was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameFate {
    /// All changes are lost.
    Lost,
    /// All were written by chance.
    Kept,
    /// Up to some moment, another one for each directory.
    Each,
    /// Up to some moment, the same for all: one journal.
    Journal,
}

/// What is found of the shared pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFate {
    /// Nothing.
    Lost,
    /// As it was first.
    First,
    /// As it was at some time.
    Stale,
    /// As it was in the end, though data was lost.
    Ahead,
    /// Sectors of different times.
    Mixed,
    /// Cut short.
    Short,
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) data: DataFate,
    pub(crate) names: NameFate,
    pub(crate) head: HeadFate,
    /// Where the shared pages hold inode numbers: the copies get other ones.
    pub(crate) inode_words: &'static [usize],
}

pub(super) fn build(tree: &Tree, ops: usize, policy: Policy, random: &mut Random, target: &Path) {
    let moment = random.below(ops + 1);
    let mut builder = Builder { tree, ops, policy, random, moment, inodes: HashMap::new(), heads: Vec::new() };
    builder.dir(ROOT, target);
    builder.fix_heads();
}

struct Builder<'a> {
    tree: &'a Tree,
    ops: usize,
    policy: Policy,
    random: &'a mut Random,
    moment: usize,
    /// Old inode numbers to new ones.
    inodes: HashMap<u64, u64>,
    heads: Vec<PathBuf>,
}

impl Builder<'_> {
    fn dir(&mut self, id: NodeId, target: &Path) {
        let Body::Dir { initial, events, .. } = &self.tree.nodes[id].body else { return };
        let past: Vec<_> = events.iter().filter(|event| event.at < self.ops).collect();
        let until = match self.policy.names {
            NameFate::Lost => 0,
            NameFate::Kept => self.ops,
            NameFate::Journal => self.moment,
            NameFate::Each => past.get(self.random.below(past.len() + 1)).map_or(self.ops, |event| event.at),
        };
        let mut entries: BTreeMap<Vec<u8>, NodeId> = initial.clone();
        for event in past.into_iter().filter(|event| event.is_durable(self.ops) || event.at < until) {
            apply(&event.change, &mut entries);
        }
        for (name, child) in entries {
            let path = target.join(OsStr::from_bytes(&name));
            match &self.tree.nodes[child].body {
                Body::Dir { .. } => {
                    std::fs::create_dir(&path).expect("an empty target");
                    self.dir(child, &path);
                }
                Body::File { initial, events, pages } => {
                    let bytes = match pages {
                        None => Some(self.data(initial, events)),
                        Some(pages) => self.head(pages, initial),
                    };
                    let Some(bytes) = bytes else { continue };
                    std::fs::write(&path, bytes).expect("there is room");
                    let inode = std::fs::metadata(&path).expect("just made").ino();
                    self.inodes.insert(self.tree.nodes[child].inode, inode);
                    if pages.is_some() {
                        self.heads.push(path);
                    }
                }
            }
        }
    }

    fn data(&mut self, initial: &[u8], events: &[Event<DataChange>]) -> Vec<u8> {
        let past: Vec<_> = events.iter().filter(|event| event.at < self.ops).collect();
        let last = past.iter().rposition(|event| matches!(event.change, DataChange::Write(..)));
        let mut bytes = initial.to_vec();
        let mut whole = bytes.clone();
        for (index, event) in past.into_iter().enumerate() {
            event.change.apply(&mut whole);
            let keeps = event.is_durable(self.ops)
                || match self.policy.data {
                    DataFate::Lost => false,
                    DataFate::Kept => true,
                    DataFate::Prefix => event.at < self.moment,
                    DataFate::Torn if Some(index) == last => {
                        self.part(event, true, &mut bytes);
                        false
                    }
                    DataFate::Torn => true,
                    DataFate::Shuffled | DataFate::Zeros => match self.random.below(5) {
                        0 | 1 => true,
                        2 => {
                            self.part(event, false, &mut bytes);
                            false
                        }
                        _ => false,
                    },
                };
            if keeps {
                event.change.apply(&mut bytes);
            }
        }
        if self.policy.data == DataFate::Zeros {
            bytes.resize(whole.len(), 0);
        }
        bytes
    }

    /// Keeps the beginning of a write, or its end.
    fn part(&mut self, event: &Event<DataChange>, beginning: bool, bytes: &mut Vec<u8>) {
        let DataChange::Write(position, written) = &event.change else { return };
        let cut = self.random.below(written.len() + 1);
        let part = if beginning || self.random.percent(50) {
            DataChange::Write(*position, written[..cut].to_vec())
        } else {
            DataChange::Write(*position + cut as u64, written[cut..].to_vec())
        };
        part.apply(bytes);
    }

    fn head(&mut self, pages: &[(usize, Arc<[u8]>)], initial: &[u8]) -> Option<Vec<u8>> {
        let past = &pages[..pages.partition_point(|(at, _)| *at <= self.ops)];
        let (Some((_, first)), Some((_, last))) = (past.first(), past.last()) else { return Some(initial.to_vec()) };
        match self.policy.head {
            HeadFate::Lost => None,
            HeadFate::First => Some(first.to_vec()),
            HeadFate::Ahead => Some(last.to_vec()),
            HeadFate::Stale => Some(past[self.random.below(past.len())].1.to_vec()),
            HeadFate::Short => Some(last[..self.random.below(last.len())].to_vec()),
            HeadFate::Mixed => {
                let mut bytes = last.to_vec();
                for sector in bytes.chunks_mut(512).enumerate() {
                    let from = &past[self.random.below(past.len())].1;
                    sector.1.copy_from_slice(&from[sector.0 * 512..(sector.0 + 1) * 512]);
                }
                Some(bytes)
            }
        }
    }

    /// A reboot keeps inode numbers, so copies of the pages must name the copies of the files.
    fn fix_heads(&self) {
        for path in &self.heads {
            let mut bytes = std::fs::read(path).expect("just written");
            for &at in self.policy.inode_words {
                if let Some(word) = bytes.get_mut(at..at + 8) {
                    let old = u64::from_ne_bytes(word.try_into().expect("8 bytes"));
                    let new = self.inodes.get(&old).copied().unwrap_or(old);
                    word.copy_from_slice(&new.to_ne_bytes());
                }
            }
            std::fs::write(path, bytes).expect("there is room");
        }
    }
}
