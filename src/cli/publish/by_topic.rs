//! NDJSON into the topics that its objects name.
//!
//! The records of one chunk of input (about 1 MiB) are gathered by topic, so that a topic gets one
//! frame a chunk and not one a record. Memory holds one chunk and a few open topics, however many
//! topics there are.

use std::collections::{HashMap, VecDeque};

use drave::codec::BatchBuilder;
use drave::engine::{Engine, PublishOptions, Published};
use drave::ids::TopicName;

use super::outlet::{Outlet, Receipts, Tally};
use super::recipe::Recipe;
use super::split::Splitter;
use super::stream::Sink;
use super::writer::Skipped;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Result, ndjson};

/// So many topics are open for publishing at once. The engine keeps more of them at hand; this many
/// share one wait for the disk.
const OUTLETS_MAX: usize = 64;

pub(super) struct ByTopic<'e> {
    engine: &'e dyn Engine,
    options: PublishOptions,
    recipe: Recipe,
    splitter: Splitter,
    outlets: HashMap<TopicName, Outlet<'e>>,
    /// Builders without records, kept for their memory.
    spare: Vec<BatchBuilder>,
    seen: u64,
    closed: Tally,
    receipts: Option<Receipts<'e>>,
    skipped: Skipped,
}

/// The records of a chunk, by topic, in the order in which the topics came.
#[derive(Default)]
struct Groups {
    index_of: HashMap<TopicName, usize>,
    groups: Vec<(TopicName, BatchBuilder)>,
    /// The group of each record, in the order of the input. Only for receipts.
    order: Option<Vec<usize>>,
}

impl<'e> ByTopic<'e> {
    pub(super) fn new(
        engine: &'e dyn Engine,
        options: PublishOptions,
        recipe: Recipe,
        skip_bad: bool,
        receipts: Option<Receipts<'e>>,
    ) -> ByTopic<'e> {
        ByTopic {
            engine,
            options,
            recipe,
            splitter: Splitter::new(b"\n"),
            outlets: HashMap::new(),
            spare: Vec::new(),
            seen: 0,
            closed: Tally::default(),
            receipts,
            skipped: Skipped::new(skip_bad),
        }
    }

    fn write(&mut self, mut groups: Groups) -> Result<()> {
        // In pieces, where limits cut them.
        let mut published: Vec<VecDeque<Published>> = vec![VecDeque::new(); groups.groups.len()];
        for ((topic, builder), published) in groups.groups.iter_mut().zip(&mut published) {
            if builder.is_empty() {
                // All of its records were refused.
                continue;
            }
            self.outlet(topic)?.publish(&builder.batch(), |piece| published.push_back(piece))?;
            if self.spare.len() < OUTLETS_MAX {
                builder.clear();
                self.spare.push(std::mem::take(builder));
            }
        }
        match groups.order {
            Some(order) => self.settle_with_receipts(published, &order),
            None => Ok(()),
        }
    }

    fn settle_with_receipts(&mut self, mut published: Vec<VecDeque<Published>>, order: &[usize]) -> Result<()> {
        self.settle()?;
        let mut given = vec![0; published.len()];
        let receipts = order.iter().filter_map(|&group| {
            let piece = *published[group].front()?;
            let nth = given[group];
            given[group] += 1;
            if given[group] == piece.count {
                given[group] = 0;
                published[group].pop_front();
            }
            Some((piece, nth))
        });
        self.receipts.as_mut().map_or(Ok(()), |printer| printer.print_these(receipts))
    }

    fn outlet(&mut self, topic: &TopicName) -> Result<&mut Outlet<'e>> {
        if !self.outlets.contains_key(topic) {
            if self.outlets.len() >= OUTLETS_MAX {
                self.close()?;
            }
            let outlet = Outlet::open(self.engine, topic, &self.options)?;
            self.outlets.insert(topic.clone(), outlet);
        }
        self.outlets.get_mut(topic).ok_or_else(|| anyhow::anyhow!("a topic that was opened is open"))
    }
}

impl Groups {
    fn builder(&mut self, topic: &[u8], spare: &mut Vec<BatchBuilder>) -> Result<&mut BatchBuilder, String> {
        let name = TopicName::new(topic).ok_or("a topic's name has 1 to 512 bytes")?;
        let index = *self.index_of.entry(name).or_insert_with_key(|name| {
            self.groups.push((name.clone(), spare.pop().unwrap_or_default()));
            self.groups.len() - 1
        });
        if let Some(order) = &mut self.order {
            order.push(index);
        }
        Ok(&mut self.groups[index].1)
    }
}

/// Reads one line and puts its record with its topic's.
fn gather(line: &[u8], recipe: &Recipe, groups: &mut Groups, spare: &mut Vec<BatchBuilder>) -> Result<(), String> {
    let object = ndjson::parse(line)?;
    let topic = object.topic.as_deref().ok_or("the object names no topic")?;
    let builder = groups.builder(topic, spare)?;
    let pushed = recipe.push_object(&object, builder);
    if pushed.is_err()
        && let Some(order) = &mut groups.order
    {
        order.pop();
    }
    pushed
}

impl Sink for ByTopic<'_> {
    fn take(&mut self, bytes: &[u8], end: bool) -> Result<usize> {
        let mut groups = Groups { order: self.receipts.as_ref().map(|_| Vec::new()), ..Groups::default() };
        let used = self.splitter.split(bytes, end, |line| {
            self.seen += 1;
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            gather(line, &self.recipe, &mut groups, &mut self.spare)
                .or_else(|why| self.skipped.note(format!("line {}: {why}", self.seen)))
        });
        // What came before a bad line is published.
        self.write(groups)?;
        let used = used?;
        if let Err(why) = self.recipe.check_size(bytes.len() - used) {
            return Err(Failure::new(Exit::Rejected, format!("line {}: {why}", self.seen + 1)).into());
        }
        Ok(used)
    }

    fn start_sync(&mut self) -> Result<()> {
        self.outlets.values_mut().try_for_each(Outlet::start_sync)
    }

    fn settle(&mut self) -> Result<()> {
        self.start_sync()?;
        self.outlets.values_mut().try_for_each(Outlet::settle)
    }

    fn close(&mut self) -> Result<()> {
        let mut result = self.start_sync();
        for (_, mut outlet) in self.outlets.drain() {
            // All are closed, whatever happens to one of them; the first failure is told.
            result = result.and(outlet.close());
            self.closed.records += outlet.settled().records;
        }
        result
    }

    fn settled(&self) -> Tally {
        let open: u64 = self.outlets.values().map(|outlet| outlet.settled().records).sum();
        Tally { records: self.closed.records + open, last: None }
    }

    fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}
