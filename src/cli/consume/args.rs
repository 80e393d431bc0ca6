//! What `drave consume` understands.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use drave::codec::group_event::GroupSettings;
use drave::engine::Position;
use drave::ids::{GroupName, TopicName};

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::OutputArgs;
use crate::cli::position::{self, POSITIONS_HELP};
use crate::cli::{Result, group_name, topic_name};

/// Work through a topic as a member of a group
///
/// The members of a group share a topic: each record goes to one of them. Without --exec records are printed, and settled
/// once the output has accepted them. With --exec a command is run for each, and its exit status settles the record.
/// What a member that died held comes back when its lease is over. A missing group is made with the options given.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{VERDICTS}\n\n{POSITIONS_HELP}\n\n{EXAMPLES}"))]
pub(crate) struct Args {
    /// The topic
    #[arg(value_parser = topic_name())]
    pub(super) topic: TopicName,

    /// The group
    #[arg(short, long, value_parser = group_name())]
    pub(super) group: GroupName,

    /// Work under this name [default: made up, and gone with this run]
    ///
    /// Who comes back under a name has what it held before. One process at a time may have a name.
    #[arg(long, value_name = "NAME")]
    pub(super) consumer: Option<OsString>,

    /// Where a group that is made now begins
    #[arg(long, value_name = "POSITION", default_value = "start", value_parser = position::parse, allow_hyphen_values = true)]
    pub(super) from: Position,

    /// Wait for a topic that does not exist yet
    #[arg(long)]
    pub(super) wait: bool,

    /// Stop once the group has settled all that is in the topic
    #[arg(long)]
    pub(super) drain: bool,

    /// Stop after N records
    #[arg(short = 'n', value_name = "N")]
    pub(super) count: Option<u64>,

    /// Stop when nothing came for this long
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration)]
    pub(super) idle: Option<Duration>,

    /// Settle each record by its delivery: at most once
    #[arg(long)]
    pub(super) no_ack: bool,

    /// Print a receipt with each record, for group ack and nack: nothing is settled by printing it
    ///
    /// The lease runs from the printing on; what is not settled when it is over comes again. Of a format, the receipt is %r.
    #[arg(long, conflicts_with_all = ["no_ack", "exec"])]
    pub(super) manual: bool,

    #[command(flatten)]
    settings: SettingsArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,

    /// Run CMD for each record, its value on stdin; all words that follow are CMD's
    ///
    /// No shell is involved. DRAVE_TOPIC, DRAVE_OFFSET, DRAVE_ID, DRAVE_KEY, DRAVE_ATTEMPT and, for each header,
    /// DRAVE_H_<NAME> are in its environment.
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, conflicts_with_all = ["no_ack", "json", "format", "nul"])]
    pub(super) exec: Vec<OsString>,

    /// Run so many commands at once
    #[arg(short = 'P', value_name = "N", default_value_t = 1, requires = "exec", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) parallel: u16,

    /// Give each command up to N records, as JSON objects a line on its stdin, with one verdict for all
    ///
    /// A command gets what there is, without waiting for more. DRAVE_TOPIC alone is in its environment.
    #[arg(long, value_name = "N", requires = "exec")]
    pub(super) batch: Option<NonZeroUsize>,

    /// How long a command may run; then it gets TERM, and KILL after 5 s
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "exec", value_parser = drave::units::parse_duration)]
    pub(super) exec_timeout: Duration,
}

/// The settings of a group that is made; one that exists must agree with those given.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Group")]
struct SettingsArgs {
    /// What is kept in order: none, key (records of one key go to one member at a time) or topic [default: none]
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,

    /// How keys are dealt to members: range, round-robin, sticky or consistent-hash [default: sticky]
    #[arg(long, value_name = "STRATEGY")]
    assign: Option<String>,

    /// How long a member may be silent before others get what it holds [default: 30s]
    #[arg(long, value_name = "DURATION")]
    lease: Option<String>,

    /// Deliveries before a record is dead-lettered; 0 = for ever [default: 5]
    #[arg(long, value_name = "N")]
    max_attempts: Option<String>,

    /// The pause before a retry, the first and the longest [default: 1s..5m]
    #[arg(long, value_name = "MIN..MAX")]
    backoff: Option<String>,
}

const VERDICTS: &str = "\
What the exit status of CMD means for the record:
  0            settled
  75           given back, retried after the backoff, not counted as an attempt
  65           dead-lettered now; the last line on stderr is the reason
  100          settled, and consume stops
  126, 127     given back, not counted; consume stops with exit 1, as when CMD cannot be started
  other        counted; retried after the backoff, dead-lettered after --max-attempts; so is death of a signal";

const EXAMPLES: &str = "\
Examples:
  drave consume jobs -g resize -P 4 --exec ./resize.sh
  drave consume orders -g audit --drain          print what nobody of the group has had yet
  drave consume jobs -g resize --manual -n 1     one record, to be settled with group ack
  drave consume events -g mail --order key --exec ./send";

impl Args {
    /// Puts the settings that were given into `settings`.
    pub(super) fn apply(&self, settings: &mut GroupSettings) -> Result<()> {
        let SettingsArgs { order, assign, lease, max_attempts, backoff } = &self.settings;
        let given =
            [("order", order), ("assign", assign), ("lease", lease), ("max-attempts", max_attempts), ("backoff", backoff)];
        for (name, value) in given {
            if let Some(value) = value {
                settings.set(name, value).map_err(|why| Failure::new(Exit::Usage, why))?;
            }
        }
        Ok(())
    }
}
