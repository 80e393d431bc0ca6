//! What `drave metrics` may print: one table, which the dashboard and the alert rules are held to.

/// What Prometheus does with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises, but for a new beginning.
    Counter,
    Gauge,
}

/// One metric.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Without the namespace. The unit stands at its end, before `total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $id: &Spec = &Spec { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+
        /// All of them.
        pub(crate) const ALL: &[&Spec] = &[$($id),+];
    };
}

metrics! {
    BUILD: Gauge "build_info" ["version"] "1; the version of the drave that printed this";
    SCRAPE_SECONDS: Gauge "metrics_collect_seconds" [] "How long it took to collect this";
    LEFT_OUT_TOPICS: Gauge "metrics_left_out_topics" [] "Topics that have no series of their own, because of --labels-max";
    LEFT_OUT_LIMITS: Gauge "metrics_left_out_limits" [] "Limits that have no series of their own, because of --labels-max";
    LEFT_OUT_GROUPS: Gauge "metrics_left_out_groups" [] "Groups that have no series of their own, because of --labels-max";

    STORE_VERSION: Gauge "store_format_version" [] "Version of the store's format on disk";
    STORE_DAMAGED: Gauge "store_damaged" [] "1 if store.toml cannot be read";
    STORE_READONLY: Gauge "store_readonly" [] "1 if the store's file system is mounted read-only";
    STORE_FREE: Gauge "store_disk_free_bytes" [] "Bytes that may still be written to the store's file system";
    STORE_SIZE: Gauge "store_disk_size_bytes" [] "Bytes of the store's file system";
    STORE_FREE_FILES: Gauge "store_disk_free_files" [] "Files that may still be made on the store's file system; not told by all of them";
    STORE_TOPICS: Gauge "store_topics" [] "Topics";
    STORE_BROKEN: Gauge "store_damaged_topics" [] "Topics that do not open, or whose name is lost";
    STORE_POISONED: Gauge "store_poisoned_topics" [] "Topics in which a sync failed, which the next publish repairs";
    STORE_BAD_SEGMENTS: Gauge "store_damaged_segments" [] "Segment files of all topics whose header cannot be read; verify finds damage within the others";
    STORE_GAPS: Gauge "store_missing_segments" [] "Segment files of all topics that their successor names and that are not there";
    STORE_RECORDS: Gauge "store_records" [] "Records of all topics";
    STORE_BYTES: Gauge "store_topic_bytes" [] "Bytes of the files of all topics, without those of their groups";
    STORE_CURSORS: Gauge "store_cursors" [] "Places that tail --as keeps";
    STORE_STRAYS: Gauge "store_stray_directories" [] "What deleted topics and interrupted creations left behind; verify --repair removes it";
    QUARANTINED_FILES: Gauge "store_quarantined_files" [] "Files that verify --repair has put aside";
    QUARANTINED_BYTES: Gauge "store_quarantined_bytes" [] "Bytes of the files that verify --repair has put aside";

    TOPIC_RECORDS: Gauge "topic_records" ["topic"] "Records from the log start to the log end, without deleted ones";
    TOPIC_DELETED: Gauge "topic_deleted_records" ["topic"] "Records deleted one by one, whose bytes are still there";
    TOPIC_BYTES: Gauge "topic_bytes" ["topic"] "Bytes of all files of the topic, without those of its groups";
    TOPIC_SEGMENTS: Gauge "topic_segments" ["topic"] "Segment files";
    TOPIC_START: Gauge "topic_log_start_offset" ["topic"] "First offset kept";
    TOPIC_END: Gauge "topic_log_end_offset" ["topic"] "Next offset to be assigned";
    TOPIC_DURABLE: Gauge "topic_durable_offset" ["topic"] "First offset not known to be on stable storage";
    TOPIC_EPOCH: Gauge "topic_epoch" ["topic"] "How often a recovery has lost offsets";
    TOPIC_ADDED: Counter "topic_added_records_total" ["topic"] "Records ever appended, by whatever process";
    TOPIC_OLDEST: Gauge "topic_oldest_record_timestamp_seconds" ["topic"] "Time of the first record that is kept, in seconds since 1970";
    TOPIC_NEWEST: Gauge "topic_newest_record_timestamp_seconds" ["topic"] "Time of the last record ever appended, in seconds since 1970";
    TOPIC_EXPIRES: Gauge "topic_expire_timestamp_seconds" ["topic"] "When the topic is to be deleted, in seconds since 1970";
    TOPIC_GROUPS: Gauge "topic_groups" ["topic"] "Consumer groups of the topic";
    TOPIC_POISONED: Gauge "topic_poisoned" ["topic"] "1 if a sync failed, which the next publish repairs";
    TOPIC_UNRECOVERED: Gauge "topic_unrecovered" ["topic"] "1 if the next publish looks for what a crash left";
    TOPIC_BAD_SEGMENTS: Gauge "topic_damaged_segments" ["topic"] "Segment files whose header cannot be read; verify finds damage within the others";
    TOPIC_GAPS: Gauge "topic_missing_segments" ["topic"] "Segment files that their successor names and that are not there";

    GROUP_COMMITTED: Gauge "group_committed_offset" ["topic", "group"] "Everything below is settled";
    GROUP_LAG: Gauge "group_lag_records" ["topic", "group"] "Records from the committed offset to the end";
    GROUP_LAG_SECONDS: Gauge "group_lag_seconds" ["topic", "group"] "Age of the first record that is not settled";
    GROUP_UNDELIVERED: Gauge "group_undelivered_records" ["topic", "group"] "Records that nobody got yet";
    GROUP_PENDING: Gauge "group_pending_entries" ["topic", "group"] "Entries delivered and not settled, or waiting for their next delivery";
    GROUP_OLDEST: Gauge "group_oldest_pending_seconds" ["topic", "group"] "Since when the pending entry has been waiting that has waited longest; 0 without any";
    GROUP_CONSUMERS: Gauge "group_consumers" ["topic", "group"] "Consumers that the group knows";
    GROUP_MEMBERS: Gauge "group_active_consumers" ["topic", "group"] "Consumers that work now";
    GROUP_DELIVERED: Counter "group_delivered_records_total" ["topic", "group"] "Records delivered for the first time";
    GROUP_REDELIVERED: Counter "group_redelivered_records_total" ["topic", "group"] "Deliveries of records that had been delivered before";
    GROUP_ACKED: Counter "group_acked_records_total" ["topic", "group"] "Entries settled by an ack";
    GROUP_DEAD: Counter "group_dead_letter_records_total" ["topic", "group"] "Entries that became dead letters";
    GROUP_PAUSED: Gauge "group_paused" ["topic", "group"] "1 if the group is paused";
    GROUP_BROKEN: Gauge "store_damaged_groups" [] "Groups that do not open";

    LIMITS_BROKEN: Gauge "limits_damaged" [] "1 if what limits there are cannot be read";
    LIMIT_RECORDS: Gauge "limit_rate_records" ["limit"] "Records a second that may go through, before the factor";
    LIMIT_BYTES: Gauge "limit_rate_bytes" ["limit"] "Bytes a second that may go through, before the factor";
    LIMIT_FACTOR: Gauge "limit_factor_ratio" ["limit"] "What is left of an adaptive limit under load: 1 = all, 0.5 at least";
    LIMIT_ALLOWED_RECORDS: Counter "limit_allowed_records_total" ["limit"] "Records that went through";
    LIMIT_ALLOWED_BYTES: Counter "limit_allowed_bytes_total" ["limit"] "Bytes that went through";
    LIMIT_DENIED_RECORDS: Counter "limit_denied_records_total" ["limit"] "Records that were refused";
    LIMIT_DENIED_BYTES: Counter "limit_denied_bytes_total" ["limit"] "Bytes that were refused";
    LIMIT_WAITS: Counter "limit_waits_total" ["limit", "counts"] "How often somebody waited for records or bytes to be let through";
    LIMIT_WAITED: Counter "limit_waited_seconds_total" ["limit", "counts"] "How long they waited, in all";

    SNAPSHOTS: Gauge "kept_snapshots" [] "Whole snapshots in the directory that --snapshots names";
    SNAPSHOTS_BROKEN: Gauge "damaged_snapshots" [] "Snapshots there whose manifest cannot be read";
    SNAPSHOT_TIME: Gauge "snapshot_timestamp_seconds" [] "When the newest whole one was made, in seconds since 1970";
    SNAPSHOT_BYTES: Gauge "snapshot_bytes" [] "Bytes that the newest whole one stands for, shared ones too";

    SERVER_UP: Gauge "server_up" [] "1 if a server has the store's socket and answers";
    SERVER_UPTIME: Gauge "server_uptime_seconds" [] "How long the server has been running";
    SERVER_CLIENTS: Gauge "server_clients" [] "Connections now";
    SERVER_CLIENTS_MAX: Gauge "server_limit_clients" [] "Connections that there may be at once";
    SERVER_BLOCKED: Gauge "server_blocked_clients" [] "Connections that wait in XREAD BLOCK and the like";
    SERVER_CONNECTIONS: Counter "server_connections_total" [] "Connections ever";
    SERVER_REJECTED: Counter "server_rejected_connections_total" [] "Connections refused since there were too many";
    SERVER_COMMANDS: Counter "server_commands_total" [] "Commands executed";
    SERVER_ERRORS: Counter "server_errors_total" ["kind"] "Errors that clients were told, by their first word";
    SERVER_IN: Counter "server_received_bytes_total" [] "Bytes received from clients";
    SERVER_OUT: Counter "server_sent_bytes_total" [] "Bytes sent to clients";
    SERVER_IN_HAND: Gauge "server_open_topics" [] "Topics in hand";
    SERVER_ADDED: Counter "server_added_records_total" [] "Records added through the server";
    SERVER_ADDED_BYTES: Counter "server_added_bytes_total" [] "Bytes of names and values in records added through the server";
    SERVER_READ: Counter "server_read_records_total" [] "Records delivered by the server";
    SERVER_READ_BYTES: Counter "server_read_bytes_total" [] "Bytes of names and values in records delivered by the server";
    SERVER_SYNCS_FAILED: Counter "server_failed_syncs_total" [] "Syncs that failed";
    SERVER_MEMORY: Gauge "server_resident_memory_bytes" [] "Memory that the server takes";
    SERVER_CPU: Counter "server_cpu_seconds_total" ["mode"] "Processor time, in the program (user) and for it in the kernel (system)";
    SERVER_LATENCY: Gauge "server_latency_seconds" ["stage", "quantile"] "Time within which this share of all appends, syncs or commands was done, since the server began";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is counted or measured stands at the end of a name; states and facts are the few that have no unit.
    const UNITS: [&str; 20] = [
        "bytes",
        "seconds",
        "records",
        "entries",
        "topics",
        "groups",
        "consumers",
        "clients",
        "segments",
        "files",
        "directories",
        "cursors",
        "offset",
        "connections",
        "commands",
        "errors",
        "limits",
        "ratio",
        "snapshots",
        "waits",
    ];
    const STATES: [&str; 9] = ["info", "version", "damaged", "readonly", "epoch", "poisoned", "unrecovered", "paused", "up"];

    #[test]
    fn names_carry_their_unit_and_counters_say_total() {
        let mut names = BTreeSet::new();
        for spec in ALL {
            assert!(names.insert(spec.name), "{} is there twice", spec.name);
            assert!(spec.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", spec.name);
            let base = spec.name.strip_suffix("_total");
            assert_eq!(base.is_some(), spec.kind == Kind::Counter, "{}", spec.name);
            let last = base.unwrap_or(spec.name).rsplit('_').next().unwrap_or_default();
            let is_syncs = spec.name == "server_failed_syncs_total";
            assert!(UNITS.contains(&last) || STATES.contains(&last) || is_syncs, "{} has no unit", spec.name);
            assert!(!spec.help.is_empty() && !spec.help.ends_with('.'), "{}", spec.name);
        }
        assert!(ALL.len() >= 30);
    }
}
