//! Files and directories, with everything that happened to them and since when it is durable.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::schedule;
use crate::disk::{Op, PAGE_BYTES, Verdict};

/// Index of a node; unlike inode numbers they are never used again.
pub(super) type NodeId = usize;

/// The root's.
pub(super) const ROOT: NodeId = 0;

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    by_inode: HashMap<u64, NodeId>,
    path: PathBuf,
    story: Vec<String>,
    /// A change of names whose outcome is not known yet.
    pending: Option<(usize, Pending)>,
    /// The shared pages when the processes were killed.
    kept: Vec<(PathBuf, Vec<u8>)>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) inode: u64,
    /// Where it lies now; `None` = removed.
    place: Option<(NodeId, Vec<u8>)>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Dir { initial: BTreeMap<Vec<u8>, NodeId>, entries: BTreeMap<Vec<u8>, NodeId>, events: Vec<Event<NameChange>> },
    File { initial: Vec<u8>, events: Vec<Event<DataChange>>, pages: Option<Vec<(usize, Arc<[u8]>)>> },
}

/// A change, when it was made, and since when it survives a power cut.
#[derive(Debug)]
pub(super) struct Event<T> {
    pub(super) at: usize,
    pub(super) durable_at: Option<usize>,
    /// A failed sync was to cover it: a later one does not either.
    doomed: bool,
    pub(super) change: T,
}

#[derive(Debug)]
pub(super) enum NameChange {
    Add(Vec<u8>, NodeId),
    Remove(Vec<u8>),
    Move(Vec<u8>, Vec<u8>),
    Swap(Vec<u8>, Vec<u8>),
}

#[derive(Debug)]
pub(super) enum DataChange {
    Write(u64, Vec<u8>),
    Truncate(u64),
    /// The kernel has thrown away what was not written.
    Reset(Vec<u8>),
}

#[derive(Debug)]
enum Pending {
    Create { dir: NodeId, name: Vec<u8> },
    Rename { dir: NodeId, name: Vec<u8>, new_name: Vec<u8> },
    Link { from: NodeId, name: Vec<u8>, to: NodeId, new_name: Vec<u8> },
    Remove { dir: NodeId, name: Vec<u8> },
    Exchange { dir: NodeId, name: Vec<u8>, other: Vec<u8> },
}

impl<T> Event<T> {
    fn new(at: usize, change: T) -> Event<T> {
        Event { at, durable_at: None, doomed: false, change }
    }

    /// Whether it is on the disk for certain after the first `ops` changes.
    pub(super) fn is_durable(&self, ops: usize) -> bool {
        self.durable_at.is_some_and(|at| at < ops)
    }

    fn sync(&mut self, now: usize, entered: usize) {
        if self.at < entered && self.durable_at.is_none() && !self.doomed {
            self.durable_at = Some(now);
        }
    }
}

impl DataChange {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            DataChange::Write(position, written) => {
                let from = *position as usize;
                if bytes.len() < from + written.len() {
                    bytes.resize(from + written.len(), 0);
                }
                bytes[from..from + written.len()].copy_from_slice(written);
            }
            DataChange::Truncate(length) => bytes.resize(*length as usize, 0),
            DataChange::Reset(whole) => bytes.clone_from(whole),
        }
    }
}

fn is_page(name: &[u8]) -> bool {
    name == b"head" || name.starts_with(b".head-")
}

impl Tree {
    pub(super) fn of(path: &Path) -> Tree {
        let mut tree = Tree { path: path.to_owned(), ..Tree::default() };
        tree.import(path, None);
        tree
    }

    fn import(&mut self, path: &Path, place: Option<(NodeId, Vec<u8>)>) -> NodeId {
        let meta = std::fs::symlink_metadata(path).expect("it was listed");
        let body = if meta.is_dir() {
            Body::Dir { initial: BTreeMap::new(), entries: BTreeMap::new(), events: Vec::new() }
        } else {
            let pages = place.as_ref().is_some_and(|(_, name)| is_page(name)).then(Vec::new);
            Body::File { initial: std::fs::read(path).expect("a file"), events: Vec::new(), pages }
        };
        let id = self.add(Node { inode: meta.ino(), place, body });
        if meta.is_dir() {
            for entry in std::fs::read_dir(path).expect("a directory") {
                let entry = entry.expect("an entry");
                let name = entry.file_name().as_bytes().to_vec();
                let child = self.import(&entry.path(), Some((id, name.clone())));
                if let Body::Dir { initial, entries, .. } = &mut self.nodes[id].body {
                    initial.insert(name.clone(), child);
                    entries.insert(name, child);
                }
            }
        }
        id
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = self.nodes.len();
        self.by_inode.insert(node.inode, id);
        self.nodes.push(node);
        id
    }

    /// How many changes have been made.
    pub(super) fn now(&self) -> usize {
        self.story.len()
    }

    pub(super) fn story(&self) -> String {
        self.story.iter().enumerate().map(|(at, line)| format!("{at:4} {line}\n")).collect()
    }

    fn id(&self, inode: u64) -> NodeId {
        *self.by_inode.get(&inode).expect("every file and directory of the store was seen when it was made")
    }

    fn path_of(&self, id: NodeId) -> Option<PathBuf> {
        if id == ROOT {
            return Some(self.path.clone());
        }
        let (parent, name) = self.nodes[id].place.as_ref()?;
        Some(self.path_of(*parent)?.join(OsStr::from_bytes(name)))
    }

    fn say(&self, id: NodeId) -> String {
        match self.path_of(id) {
            Some(path) => path.strip_prefix(&self.path).unwrap_or(&path).display().to_string(),
            None => format!("(removed {id})"),
        }
    }

    fn inode_at(&self, dir: NodeId, name: &[u8]) -> Option<u64> {
        let path = self.path_of(dir)?.join(OsStr::from_bytes(name));
        std::fs::symlink_metadata(path).ok().map(|meta| meta.ino())
    }

    /// Takes note of a change that is about to be made. A sync covers what was there when it was
    /// `entered`, and no more.
    pub(super) fn note(&mut self, op: &Op<'_>, (verdict, loses): (Verdict, bool), entered: usize) {
        let now = self.now();
        let fails = !matches!(verdict, Verdict::Go);
        let line = match op {
            Op::Write { file, position, parts } => {
                let id = self.id(*file);
                let mut bytes = parts.concat();
                let asked = bytes.len();
                match verdict {
                    Verdict::Go => {}
                    Verdict::Fail(_) => bytes.clear(),
                    Verdict::Short(n, _) => bytes.truncate(n),
                }
                self.data(id, now, DataChange::Write(*position, bytes));
                format!("write {} @{position} +{asked}", self.say(id))
            }
            Op::Truncate { file, length } => {
                let id = self.id(*file);
                if !fails {
                    self.data(id, now, DataChange::Truncate(*length));
                }
                format!("truncate {} to {length}", self.say(id))
            }
            Op::SyncFile { file } => {
                let id = self.id(*file);
                self.sync_file(id, now, entered, fails, loses);
                format!("sync {}", self.say(id))
            }
            Op::SyncDir { dir } => {
                let id = self.id(*dir);
                if let Body::Dir { events, .. } = &mut self.nodes[id].body
                    && !fails
                {
                    events.iter_mut().for_each(|event| event.sync(now, entered));
                }
                format!("syncdir {}/", self.say(id))
            }
            Op::Create { dir, name, is_dir } => {
                let id = self.id(*dir);
                self.await_outcome(now, fails, Pending::Create { dir: id, name: name.to_vec() });
                let slash = if *is_dir { "/" } else { "" };
                format!("create {}/{}{slash}", self.say(id), name.escape_ascii())
            }
            Op::Rename { from, name, to, new_name } => {
                assert_eq!(from, to, "nothing moves between directories");
                let dir = self.id(*from);
                let (name, new_name) = (name.to_vec(), new_name.to_vec());
                let line = format!("rename {}/{} {}", self.say(dir), name.escape_ascii(), new_name.escape_ascii());
                self.await_outcome(now, fails, Pending::Rename { dir, name, new_name });
                line
            }
            Op::Link { from, name, to, new_name } => {
                let (from, to) = (self.id(*from), self.id(*to));
                let (name, new_name) = (name.to_vec(), new_name.to_vec());
                let (old, new) = (name.escape_ascii(), new_name.escape_ascii());
                let line = format!("link {}/{old} {}/{new}", self.say(from), self.say(to));
                self.await_outcome(now, fails, Pending::Link { from, name, to, new_name });
                line
            }
            Op::Unlink { dir, name } => {
                let id = self.id(*dir);
                self.await_outcome(now, fails, Pending::Remove { dir: id, name: name.to_vec() });
                format!("unlink {}/{}", self.say(id), name.escape_ascii())
            }
            Op::Exchange { dir, name, other } => {
                let id = self.id(*dir);
                self.await_outcome(now, fails, Pending::Exchange { dir: id, name: name.to_vec(), other: other.to_vec() });
                format!("exchange {}/{} {}", self.say(id), name.escape_ascii(), other.escape_ascii())
            }
        };
        let who = schedule::this_thread().map_or_else(|| "-".to_owned(), |thread| thread.to_string());
        let outcome = if fails { format!("  {verdict:?}") } else { String::new() };
        self.story.push(format!("[{who}] {line}{outcome}"));
    }

    fn await_outcome(&mut self, now: usize, fails: bool, pending: Pending) {
        if !fails {
            self.pending = Some((now, pending));
        }
    }

    fn data(&mut self, id: NodeId, now: usize, change: DataChange) {
        if let Body::File { events, .. } = &mut self.nodes[id].body {
            events.push(Event::new(now, change));
        }
    }

    fn sync_file(&mut self, id: NodeId, now: usize, entered: usize, fails: bool, loses: bool) {
        let path = self.path_of(id);
        let Body::File { initial, events, .. } = &mut self.nodes[id].body else { return };
        if !fails {
            events.iter_mut().for_each(|event| event.sync(now, entered));
            return;
        }
        events.iter_mut().filter(|event| event.durable_at.is_none()).for_each(|event| event.doomed = true);
        if let (true, Some(path)) = (loses, path) {
            let mut bytes = initial.clone();
            events.iter().filter(|event| event.durable_at.is_some()).for_each(|event| event.change.apply(&mut bytes));
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
            let length = file.metadata().expect("a file").len();
            bytes.resize(length as usize, 0);
            file.write_all_at(&bytes, 0).expect("there is room");
            events.push(Event::new(now, DataChange::Reset(bytes)));
        }
    }

    /// What is not durable of a file will not be by a later sync either.
    pub(super) fn doom(&mut self, file: u64) {
        let id = self.id(file);
        self.sync_file(id, self.now(), 0, true, false);
    }

    /// Learns what became of the last change of names, and how the shared pages look now.
    pub(super) fn resolve(&mut self) {
        if let Some((at, pending)) = self.pending.take() {
            self.settle(at, pending);
        }
        let now = self.now();
        for id in 0..self.nodes.len() {
            if !matches!(self.nodes[id].body, Body::File { pages: Some(_), .. }) {
                continue;
            }
            let Some(Ok(bytes)) = self.path_of(id).map(std::fs::read) else { continue };
            if let Body::File { pages: Some(pages), .. } = &mut self.nodes[id].body
                && bytes.len() == PAGE_BYTES
                && pages.last().is_none_or(|(_, last)| last[..] != bytes[..])
            {
                pages.push((now, bytes.into()));
            }
        }
    }

    fn settle(&mut self, at: usize, pending: Pending) {
        match pending {
            Pending::Create { dir, name } => {
                let Some(inode) = self.inode_at(dir, &name) else { return };
                let Body::Dir { entries, .. } = &self.nodes[dir].body else { return };
                // Something of that name was there: the change has failed.
                if entries.contains_key(&name) {
                    return;
                }
                let path = self.path_of(dir).expect("the entry was found").join(OsStr::from_bytes(&name));
                let body = if path.is_dir() {
                    Body::Dir { initial: BTreeMap::new(), entries: BTreeMap::new(), events: Vec::new() }
                } else {
                    Body::File { initial: Vec::new(), events: Vec::new(), pages: is_page(&name).then(Vec::new) }
                };
                let id = self.add(Node { inode, place: Some((dir, name.clone())), body });
                self.name(dir, at, NameChange::Add(name, id));
            }
            Pending::Rename { dir, name, new_name } => {
                let Body::Dir { entries, .. } = &self.nodes[dir].body else { return };
                let Some(&id) = entries.get(&name) else { return };
                if self.inode_at(dir, &new_name) == Some(self.nodes[id].inode) {
                    self.name(dir, at, NameChange::Move(name, new_name));
                }
            }
            Pending::Link { from, name, to, new_name } => {
                let Body::Dir { entries, .. } = &self.nodes[from].body else { return };
                let Some(&id) = entries.get(&name) else { return };
                if self.inode_at(to, &new_name) == Some(self.nodes[id].inode) {
                    self.name(to, at, NameChange::Add(new_name, id));
                }
            }
            Pending::Exchange { dir, name, other } => {
                let Body::Dir { entries, .. } = &self.nodes[dir].body else { return };
                let Some(&id) = entries.get(&name) else { return };
                if self.inode_at(dir, &other) == Some(self.nodes[id].inode) {
                    self.name(dir, at, NameChange::Swap(name, other));
                }
            }
            Pending::Remove { dir, name } => {
                if self.inode_at(dir, &name).is_none() {
                    self.name(dir, at, NameChange::Remove(name));
                }
            }
        }
    }

    fn name(&mut self, dir: NodeId, at: usize, change: NameChange) {
        let Body::Dir { entries, events, .. } = &mut self.nodes[dir].body else { return };
        let before = entries.clone();
        apply(&change, entries);
        let after = entries.clone();
        events.push(Event::new(at, change));
        for (_, id) in before.into_iter().filter(|(name, id)| after.get(name) != Some(id)) {
            self.nodes[id].place = None;
        }
        for (name, id) in after {
            self.nodes[id].place = Some((dir, name));
        }
    }

    /// Remembers the shared pages as they are.
    pub(super) fn keep_heads(&mut self) {
        self.resolve();
        let paths = (0..self.nodes.len())
            .filter(|id| matches!(self.nodes[*id].body, Body::File { pages: Some(_), .. }))
            .filter_map(|id| self.path_of(id));
        self.kept = paths.filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes))).collect();
    }

    pub(super) fn restore_heads(&mut self) {
        for (path, bytes) in self.kept.drain(..) {
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("nothing was removed since");
            file.write_all_at(&bytes, 0).expect("there is room");
        }
    }
}

/// Makes a change of names.
pub(super) fn apply(change: &NameChange, entries: &mut BTreeMap<Vec<u8>, NodeId>) {
    match change {
        NameChange::Add(name, id) => {
            entries.insert(name.clone(), *id);
        }
        NameChange::Remove(name) => {
            entries.remove(name);
        }
        NameChange::Move(name, new_name) => {
            if let Some(id) = entries.remove(name) {
                entries.insert(new_name.clone(), id);
            }
        }
        NameChange::Swap(name, other) => {
            if let (Some(id), Some(of_other)) = (entries.remove(name), entries.remove(other)) {
                entries.insert(name.clone(), of_other);
                entries.insert(other.clone(), id);
            }
        }
    }
}
