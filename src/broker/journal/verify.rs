//! Reading every byte of a group's journal and of its checkpoints, and checking it.

use super::checkpoints::{self, Check};
use crate::broker::consume::OpenGroup;
use crate::error::Result;
use crate::ids::{GroupName, Offset, TopicName};
use crate::job::Job;
use crate::log::{Finding, Mode, Severity, Verified, verify};
use crate::store::{GroupFiles, Store};

/// Checks a group of a topic. Says what was found, and how it ended. What is damaged there costs no
/// record: at worst the group delivers some again.
///
/// # Errors
/// [`crate::Error::NameMissing`] when it is deleted meanwhile. Damage is no error.
pub fn verify_group(store: &Store, topic: &TopicName, group: &GroupName, job: &Job) -> (Verified, Result<()>) {
    let opened = store.topic(topic, Mode::Read, job).and_then(|topic| store.group(&topic, group, Mode::Read, job));
    match opened {
        Ok(files) => check(&files, job),
        Err(error) => (Verified::default(), Err(error)),
    }
}

fn check(files: &GroupFiles, job: &Job) -> (Verified, Result<()>) {
    let (mut verified, ended) = verify(&files.journal, job);
    let newest = match check_checkpoints(files, &mut verified) {
        Ok(newest) => newest,
        Err(error) => return (verified, ended.and(Err(error))),
    };
    if files.journal.log_end() == Offset::ZERO {
        let what = "the group's journal is empty; delete the group and make it anew".to_owned();
        let path = files.dir().path().to_owned();
        verified.findings.push(Finding { severity: Severity::Damage, path, position: 0, offsets: None, what, repairable: false });
        return (verified, ended);
    }
    for finding in &mut verified.findings {
        let what = match finding.offsets.take() {
            _ if finding.severity == Severity::Note => None,
            Some((_, until)) if until <= newest => Some("a checkpoint holds what it said"),
            Some(_) => Some("the group falls back to what was before it, and delivers records again"),
            None => Some("no event is concerned"),
        };
        let is_void = what.is_some_and(|what| what.starts_with("the group"));
        finding.severity = if is_void { Severity::Damage } else { Severity::Note };
        finding.repairable = is_void;
        if let Some(what) = what {
            finding.what = format!("{}; {what}", finding.what);
        }
    }
    (verified, ended)
}

/// Up to where the newest checkpoint that stands makes the journal needless.
fn check_checkpoints(files: &GroupFiles, verified: &mut Verified) -> Result<Offset> {
    let mut newest = None;
    let mut bad = Vec::new();
    for which in checkpoints::FILES {
        match checkpoints::check(files, which)? {
            Check::Stands(place) => newest = newest.max(Some(place.offset)),
            Check::Damaged(what) => bad.push((which, what)),
            Check::Missing | Check::Void => {}
        }
    }
    let is_lost = newest.is_none() && files.journal.log_start() > Offset::ZERO;
    for (which, what) in bad {
        let path = files.dir().path().join(String::from_utf8_lossy(which).as_ref());
        let (severity, then) = match is_lost {
            true => (Severity::Damage, "the group cannot be read without it; delete it and make it anew"),
            false => (Severity::Note, "the one before it, or the journal, is used"),
        };
        let what = format!("{what}; {then}");
        verified.findings.push(Finding { severity, path, position: 0, offsets: None, what, repairable: false });
    }
    Ok(newest.unwrap_or(Offset::ZERO))
}

/// Has a group whose journal is damaged go on without what is lost.
pub fn mend_group(store: &Store, topic: &TopicName, group: &GroupName, job: &Job) -> Result<()> {
    let mut open = OpenGroup::open(store, topic, group, Mode::Write, job.clone())?;
    open.decide(|_, _| (Vec::new(), ()))
}
