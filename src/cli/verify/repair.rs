//! `--repair`: what was found is made good as far as that goes, and read again.

use drave::broker::{mend_group, verify_group};
use drave::ids::TopicName;
use drave::log::{Mended, Severity};
use drave::store::Store;

use super::report::{Report, counted};
use crate::cli::Result;
use crate::cli::confirm::Consent;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, InTopic as _, say};

/// So many names are told in a question.
const NAMED_MAX: usize = 5;

/// Repairs what `report` says. Exit 7 if damage is left.
pub(super) fn run(consent: &Consent, context: &Context, store: &Store, report: &Report) -> Result {
    let topics = &report.repairable;
    if !topics.is_empty() {
        let quarantine = store.path().join("quarantine");
        let question = format!("repair {}? What is replaced is kept in {}", named(topics), quarantine.display());
        consent.ask(&question)?;
    }
    for (topic, group) in &report.groups_to_mend {
        consent.ask(&format!("have group {group} of {topic} go on without what its journal lost? It delivers records again"))?;
    }
    let mut is_whole = !report.beyond_repair;
    for topic in topics {
        context.job.check()?;
        let mended = store.mend_topic(topic, &context.job).in_topic(topic)?;
        tell(context, topic, &mended);
        is_whole &= is_whole_now(context, store, topic)?;
    }
    for (topic, group) in &report.groups_to_mend {
        mend_group(store, topic, group, &context.job).in_topic(topic)?;
        context.say(&format!("{topic}: group {group} goes on without what its journal lost"));
        is_whole &= !verify_group(store, topic, group, &context.job).0.is_damaged();
    }
    if report.leftovers {
        let removed = store.remove_leftovers()?;
        if removed > 0 {
            context.say(&format!("removed what {} had left that were deleted or never finished", counted(removed, "topic")));
        }
    }
    if report.beyond_repair {
        context.say("what is damaged outside of topics was not repaired: restore it from a copy");
    }
    if !topics.is_empty() || !report.groups_to_mend.is_empty() {
        context.say(if is_whole { "repaired; all of it is whole now" } else { "repaired what could be; damage is left" });
    }
    Ok(if is_whole { Exit::Done } else { Exit::Damaged })
}

fn named(topics: &[TopicName]) -> String {
    let names: Vec<String> = topics.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match topics.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more topics", names.join(", ")),
    }
}

fn tell(context: &Context, topic: &TopicName, mended: &Mended) {
    let mut done = Vec::new();
    if !mended.segments.is_empty() {
        done.push(format!("wrote {} anew", counted(mended.segments.len() as u64, "segment")));
    }
    if mended.indexes > 0 {
        done.push(format!(
            "rebuilt {}",
            if mended.indexes == 1 { "1 index".to_owned() } else { format!("{} indexes", mended.indexes) }
        ));
    }
    if let Some(directory) = mended.kept.first().and_then(|path| path.parent()) {
        let files = counted(mended.kept.len() as u64, "file");
        done.push(format!("kept {files} in {}", directory.display()));
    }
    if !done.is_empty() {
        context.say(&format!("{topic}: {}", done.join(", ")));
    }
    if mended.deletions_lost {
        // Also under --quiet.
        say(&format!("{topic}: a part of its deletions was lost; records that were deleted may be read again"));
    }
    if mended.settings_lost {
        context.say(&format!("{topic}: its settings could not be read and are the store's defaults now"));
    }
    // Also under --quiet: records are never given up in silence.
    for (from, until) in &mended.lost {
        say(&format!("{topic}: gave up records {from}..{until}"));
    }
}

fn is_whole_now(context: &Context, store: &Store, topic: &TopicName) -> Result<bool> {
    let (verified, ended) = store.verify_topic(topic, &context.job);
    ended.in_topic(topic)?;
    for finding in verified.findings.iter().filter(|finding| finding.severity == Severity::Damage) {
        let (path, position) = (finding.path.display(), finding.position);
        context.say(&format!("{topic}: still damaged: {path} at position {position}: {}", finding.what));
    }
    Ok(!verified.is_damaged())
}
