//! Alert rules for Prometheus.

use super::table as t;
use super::table::Spec;

/// One rule.
struct Rule {
    name: &'static str,
    /// What the expression speaks of, in the order of its `{}`.
    of: &'static [&'static Spec],
    expression: &'static str,
    /// How long it must have been so.
    minutes: u32,
    severity: &'static str,
    summary: &'static str,
    todo: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "DraveDiskFull",
        of: &[t::STORE_FREE, t::STORE_SIZE],
        expression: "{} / {} < 0.05",
        minutes: 5,
        severity: "critical",
        summary: "The disk of the store has less than 5 % left",
        todo: "Publishing fails when it is full, and nothing that was acknowledged is lost. Trim or delete topics, or make room.",
    },
    Rule {
        name: "DraveStoreDamaged",
        of: &[t::STORE_DAMAGED, t::STORE_BROKEN, t::GROUP_BROKEN],
        expression: "{} + {} + {} > 0",
        minutes: 0,
        severity: "critical",
        summary: "Something in the store does not open",
        todo: "drave verify tells what, drave verify --repair mends it.",
    },
    Rule {
        name: "DraveSegmentsDamaged",
        of: &[t::STORE_BAD_SEGMENTS, t::STORE_GAPS],
        expression: "{} + {} > 0",
        minutes: 0,
        severity: "critical",
        summary: "{{ $value }} segment files are damaged or missing",
        todo: "drave verify tells where, and which records that costs.",
    },
    Rule {
        name: "DraveTopicPoisoned",
        of: &[t::STORE_POISONED],
        expression: "{} > 0",
        minutes: 1,
        severity: "critical",
        summary: "A sync failed in {{ $value }} topics",
        todo: "Look at the disk; drave inspect tells which topics. Nothing is acknowledged before the next publish has written anew what was in doubt.",
    },
    Rule {
        name: "DraveStoreReadOnly",
        of: &[t::STORE_READONLY],
        expression: "{} > 0",
        minutes: 1,
        severity: "critical",
        summary: "The file system of the store is mounted read-only",
        todo: "The kernel does that when a disk fails: see its log.",
    },
    Rule {
        name: "DraveGroupBehind",
        of: &[t::GROUP_LAG_SECONDS, t::GROUP_PAUSED],
        expression: "{} > 300 unless {} > 0",
        minutes: 5,
        severity: "warning",
        summary: "The group {{ $labels.group }} of {{ $labels.topic }} is {{ $value | humanizeDuration }} behind",
        todo: "drave inspect group {{ $labels.topic }} {{ $labels.group }} shows its consumers.",
    },
    Rule {
        name: "DraveGroupWithoutConsumers",
        of: &[t::GROUP_LAG, t::GROUP_MEMBERS, t::GROUP_DELIVERED, t::GROUP_PAUSED],
        expression: "{} > 0 and {} == 0 and increase({}[15m]) == 0 unless {} > 0",
        minutes: 15,
        severity: "warning",
        summary: "Nobody works through {{ $labels.topic }} for the group {{ $labels.group }}",
        todo: "Start a consumer, or pause or delete the group.",
    },
    Rule {
        name: "DravePendingStuck",
        of: &[t::GROUP_OLDEST],
        expression: "{} > 3600",
        minutes: 5,
        severity: "warning",
        summary: "The group {{ $labels.group }} of {{ $labels.topic }} has had an entry in hand for {{ $value | humanizeDuration }}",
        todo: "drave inspect pending {{ $labels.topic }} {{ $labels.group }} shows who has it.",
    },
    Rule {
        name: "DraveDeadLetters",
        of: &[t::GROUP_DEAD],
        expression: "increase({}[10m]) > 0",
        minutes: 0,
        severity: "warning",
        summary: "The group {{ $labels.group }} of {{ $labels.topic }} gave records up",
        todo: "drave dlq list {{ $labels.topic }} -g {{ $labels.group }} tells why.",
    },
    Rule {
        name: "DraveLimited",
        of: &[t::LIMIT_DENIED_RECORDS, t::LIMIT_DENIED_BYTES],
        expression: "rate({}[10m]) > 0 or rate({}[10m]) > 0",
        minutes: 10,
        severity: "warning",
        summary: "The limit {{ $labels.limit }} has refused records for ten minutes",
        todo: "drave inspect limits shows what went through; drave limit set changes it while all goes on.",
    },
    Rule {
        name: "DraveSnapshotOld",
        of: &[t::SNAPSHOT_TIME],
        expression: "time() - {} > 2 * 86400",
        minutes: 10,
        severity: "warning",
        summary: "The newest snapshot is {{ $value | humanizeDuration }} old",
        todo: "Look at the job that makes them: drave snapshot says what is wrong. Told by drave metrics --snapshots DIR.",
    },
    Rule {
        name: "DraveServerDown",
        of: &[t::SERVER_UP],
        expression: "{} == 0 and max_over_time({}[1d]) == 1",
        minutes: 1,
        severity: "critical",
        summary: "The server of the store does not answer",
        todo: "It did within the last day. Shells go on working on the store's directory meanwhile.",
    },
    Rule {
        name: "DraveServerConnectionsUsedUp",
        of: &[t::SERVER_CLIENTS, t::SERVER_CLIENTS_MAX],
        expression: "{} / {} > 0.9",
        minutes: 5,
        severity: "warning",
        summary: "More than 90 % of the connections that the server allows are in use",
        todo: "drave inspect server --by client shows whose; drave serve --max-clients allows more.",
    },
    Rule {
        name: "DraveSyncsSlow",
        of: &[t::SERVER_LATENCY],
        expression: "{}{stage=\"sync\",quantile=\"0.99\"} > 1",
        minutes: 10,
        severity: "warning",
        summary: "One sync in a hundred takes longer than a second",
        todo: "That is the disk: writers at durability sync wait for it.",
    },
];

/// The rules' file, in YAML.
pub(crate) fn rules(namespace: &str) -> String {
    let mut text = "groups:\n  - name: drave\n    rules:\n".to_owned();
    for rule in RULES {
        let expression = fill(rule.expression, rule.of, namespace);
        let lines = [
            format!("      - alert: {}", rule.name),
            // What JSON has as a string, YAML has too.
            format!("        expr: {}", serde_json::Value::from(expression)),
            format!("        for: {}m", rule.minutes),
            "        labels:".to_owned(),
            format!("          severity: {}", rule.severity),
            "        annotations:".to_owned(),
            format!("          summary: {}", serde_json::Value::from(rule.summary)),
            format!("          description: {}", serde_json::Value::from(rule.todo)),
        ];
        lines.iter().for_each(|line| text.extend([line, "\n"]));
    }
    text
}

/// Puts names into the places of an expression; the last one also into those that are left.
pub(super) fn fill(expression: &str, of: &[&Spec], namespace: &str) -> String {
    let mut text = String::new();
    for (index, part) in expression.split("{}").enumerate() {
        if let Some(spec) = index.checked_sub(1).and_then(|index| of.get(index).or(of.last())) {
            text.push_str(&format!("{namespace}_{}", spec.name));
        }
        text.push_str(part);
    }
    text
}
