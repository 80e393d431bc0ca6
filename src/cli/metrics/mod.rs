//! `drave metrics`: the state of a store as Prometheus reads it, without a server.
//!
//! Whatever is to be watched is a line in `table` and a number put down in one of the collectors.

pub(super) mod alerts;
mod collect;
pub(super) mod dashboard;
mod limits;
mod server;
mod sheet;
pub(super) mod table;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::context::Context;
use super::exit::{Exit, stdout_failed};
use super::{Result, password};
use sheet::Sheet;

/// Print the state of the store for Prometheus, without a server
///
/// For the textfile collector of node_exporter, from cron or a timer: topics, groups, limits, damage, room on the disk, and, if a server runs on the store, what
/// that has counted. What is counted survives processes: it comes from the logs themselves. The format is Prometheus's text format 0.0.4.
///
/// Damage is told by the numbers, not by the exit status: what is printed is whole also where a topic is not. A server that does not
/// answer is not up, and stderr says why.
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write into this file, at once and as a whole (beside it, then renamed), in place of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What all names begin with
    #[arg(long, value_name = "NAME", default_value = "drave", value_parser = namespace)]
    namespace: String,

    /// A label for all samples; repeatable
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// So many topics have series of their own, the first ones by name, and so many groups and limits; the others are counted. The sums are those of all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    labels_max: usize,

    /// Tell also of the snapshots in this directory: how many, and when the newest was made
    #[arg(long, value_name = "DIR")]
    snapshots: Option<PathBuf>,

    /// The file that holds the server's password in its first line [default: DRAVE_PASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  drave metrics
  drave metrics --output /var/lib/prometheus/node-exporter/drave.prom    from cron, every minute
  drave metrics --snapshots /backup/drave
  drave metrics --label store=orders --labels-max 100
  drave generate alerts > /etc/prometheus/rules.d/drave.yml
  drave generate grafana > drave.json";

/// Names of metrics, as Prometheus has them.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    if text.bytes().all(is_legal) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("a name has letters, digits and _, and does not begin with a digit".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    if name.contains(':') || name.starts_with("__") {
        return Err("a label's name has letters, digits and _, and does not begin with __".to_owned());
    }
    if table::ALL.iter().any(|spec| spec.labels.contains(&name)) {
        return Err(format!("some metrics have a label {name} of their own"));
    }
    Ok((namespace(name)?, value.to_owned()))
}

/// Runs the verb.
pub(super) fn run(args: &Args, context: &Context) -> Result {
    let began = Instant::now();
    let store = context.open_to_look()?;
    let labels: HashMap<String, String> = args.labels.iter().cloned().collect();
    let mut sheet = Sheet::new(&args.namespace, labels)?;
    collect::store(&store, &mut sheet)?;
    collect::topics(&store, args.labels_max, &mut sheet, context)?;
    limits::collect(&store, args.labels_max, &mut sheet)?;
    if let Some(dir) = &args.snapshots {
        collect::snapshots(dir, &mut sheet)?;
    }
    let password = password::given(args.password_file.as_deref())?;
    server::collect(&store, password.as_deref(), &mut sheet, context)?;
    sheet.put(table::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0)?;
    sheet.put(table::SCRAPE_SECONDS, &[], began.elapsed().as_secs_f64())?;
    let text = sheet.text()?;
    match &args.output {
        Some(path) => replace(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout().lock().write_all(text.as_bytes()).map_err(stdout_failed)?,
    }
    Ok(Exit::Done)
}

/// Writes a file such that who reads it finds the old one or the new one, whole. Not synced: after a power cut the next
/// run makes it anew. A link is followed, and what is no file, a pipe or a device, is written to.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return std::fs::write(path, bytes);
    }
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    // Not `.prom`, which would be read.
    beside.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_prometheus() {
        for good in ["drave", "a_b", "_x9", "a:b"] {
            assert_eq!(namespace(good).as_deref(), Ok(good));
        }
        for bad in ["", "9a", "a-b", "a b", "ä"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
        assert_eq!(label("store=a=b"), Ok(("store".to_owned(), "a=b".to_owned())));
        for bad in ["store", "=x", "a:b=c", "__a=b", "9=b", "topic=x", "quantile=1"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
