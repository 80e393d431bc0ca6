//! A dashboard for Grafana.

use serde_json::{Value, json};

use super::alerts::fill;
use super::table as t;
use super::table::Spec;

/// One picture.
struct Panel {
    title: &'static str,
    unit: &'static str,
    /// Each with what it speaks of, in the order of its `{}`, and what its lines are called.
    lines: &'static [(&'static str, &'static [&'static Spec], &'static str)],
}

/// Columns of Grafana's grid, and the size of a panel in it.
const GRID: usize = 24;
const WIDTH: usize = 8;
const HEIGHT: usize = 7;

const PANELS: &[Panel] = &[
    Panel {
        title: "Records added a second",
        unit: "cps",
        lines: &[("rate({}{topic=~\"$topic\"}[$__rate_interval])", &[t::TOPIC_ADDED], "{{topic}}")],
    },
    Panel { title: "Records", unit: "short", lines: &[("{}{topic=~\"$topic\"}", &[t::TOPIC_RECORDS], "{{topic}}")] },
    Panel { title: "Bytes on disk", unit: "bytes", lines: &[("{}{topic=~\"$topic\"}", &[t::TOPIC_BYTES], "{{topic}}")] },
    Panel {
        title: "Records not known to be on stable storage",
        unit: "short",
        lines: &[("{}{topic=~\"$topic\"} - {}", &[t::TOPIC_END, t::TOPIC_DURABLE], "{{topic}}")],
    },
    Panel {
        title: "Age of the oldest record",
        unit: "s",
        lines: &[("time() - {}{topic=~\"$topic\"}", &[t::TOPIC_OLDEST], "{{topic}}")],
    },
    Panel {
        title: "Since the newest record",
        unit: "s",
        lines: &[("time() - {}{topic=~\"$topic\"}", &[t::TOPIC_NEWEST], "{{topic}}")],
    },
    Panel {
        title: "How far groups are behind",
        unit: "s",
        lines: &[("{}{topic=~\"$topic\"}", &[t::GROUP_LAG_SECONDS], "{{topic}} {{group}}")],
    },
    Panel {
        title: "How many records groups are behind",
        unit: "short",
        lines: &[("{}{topic=~\"$topic\"}", &[t::GROUP_LAG], "{{topic}} {{group}}")],
    },
    Panel {
        title: "Entries pending in groups",
        unit: "short",
        lines: &[("{}{topic=~\"$topic\"}", &[t::GROUP_PENDING], "{{topic}} {{group}}")],
    },
    Panel {
        title: "Deliveries a second",
        unit: "cps",
        lines: &[
            ("rate({}{topic=~\"$topic\"}[$__rate_interval])", &[t::GROUP_DELIVERED], "{{topic}} {{group}}"),
            ("rate({}{topic=~\"$topic\"}[$__rate_interval])", &[t::GROUP_REDELIVERED], "{{topic}} {{group}} again"),
        ],
    },
    Panel {
        title: "Dead letters in the last hour",
        unit: "short",
        lines: &[("increase({}{topic=~\"$topic\"}[1h])", &[t::GROUP_DEAD], "{{topic}} {{group}}")],
    },
    Panel {
        title: "Consumers at work",
        unit: "short",
        lines: &[("{}{topic=~\"$topic\"}", &[t::GROUP_MEMBERS], "{{topic}} {{group}}")],
    },
    Panel {
        title: "Damage",
        unit: "short",
        lines: &[
            ("{}", &[t::STORE_BROKEN], "topics that do not open"),
            ("{}", &[t::GROUP_BROKEN], "groups that do not open"),
            ("{}", &[t::STORE_POISONED], "topics with a failed sync"),
            ("sum({})", &[t::TOPIC_BAD_SEGMENTS], "damaged segments"),
            ("sum({})", &[t::TOPIC_GAPS], "missing segments"),
            ("{}", &[t::QUARANTINED_FILES], "files put aside"),
        ],
    },
    Panel {
        title: "Room on the disk",
        unit: "bytes",
        lines: &[("{}", &[t::STORE_FREE], "free"), ("{}", &[t::STORE_BYTES], "topics")],
    },
    Panel {
        title: "Limits: records a second",
        unit: "ops",
        lines: &[
            ("rate({}[$__rate_interval])", &[t::LIMIT_ALLOWED_RECORDS], "{{limit}} allowed"),
            ("rate({}[$__rate_interval])", &[t::LIMIT_DENIED_RECORDS], "{{limit}} denied"),
            ("{}", &[t::LIMIT_RECORDS], "{{limit}}"),
        ],
    },
    Panel { title: "Limits: factor", unit: "percentunit", lines: &[("{}", &[t::LIMIT_FACTOR], "{{limit}}")] },
    Panel { title: "Age of the newest snapshot", unit: "s", lines: &[("time() - {}", &[t::SNAPSHOT_TIME], "age")] },
    Panel {
        title: "Server: connections",
        unit: "short",
        lines: &[("{}", &[t::SERVER_CLIENTS], "all"), ("{}", &[t::SERVER_BLOCKED], "blocked"), ("{}", &[t::SERVER_UP], "up")],
    },
    Panel {
        title: "Server: commands and errors a second",
        unit: "ops",
        lines: &[
            ("rate({}[$__rate_interval])", &[t::SERVER_COMMANDS], "commands"),
            ("rate({}[$__rate_interval])", &[t::SERVER_ERRORS], "{{kind}}"),
        ],
    },
    Panel {
        title: "Server: bytes a second",
        unit: "Bps",
        lines: &[
            ("rate({}[$__rate_interval])", &[t::SERVER_IN], "received"),
            ("rate({}[$__rate_interval])", &[t::SERVER_OUT], "sent"),
            ("rate({}[$__rate_interval])", &[t::SERVER_ADDED_BYTES], "added"),
            ("rate({}[$__rate_interval])", &[t::SERVER_READ_BYTES], "read"),
        ],
    },
    Panel { title: "Server: latency (p99)", unit: "s", lines: &[("{}{quantile=\"0.99\"}", &[t::SERVER_LATENCY], "{{stage}}")] },
    Panel { title: "Server: memory", unit: "bytes", lines: &[("{}", &[t::SERVER_MEMORY], "resident")] },
    Panel {
        title: "Server: processor",
        unit: "percentunit",
        lines: &[("rate({}[$__rate_interval])", &[t::SERVER_CPU], "{{mode}}")],
    },
];

/// The dashboard, as JSON that Grafana imports.
pub(crate) fn dashboard(namespace: &str) -> String {
    let source = json!({"type": "prometheus", "uid": "${source}"});
    let panels: Vec<Value> = PANELS.iter().enumerate().map(|(index, panel)| picture(index, panel, namespace, &source)).collect();
    let topics = fill("label_values({}, topic)", &[t::TOPIC_RECORDS], namespace);
    let dashboard = json!({
        "title": "drave",
        "uid": format!("drave-{namespace}"),
        "tags": ["drave"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [
            {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"},
            {
                "name": "topic", "label": "Topic", "type": "query", "datasource": source, "query": {"query": topics, "refId": "topics"},
                "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
            },
        ]},
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}

fn picture(index: usize, panel: &Panel, namespace: &str, source: &Value) -> Value {
    let in_a_row = GRID / WIDTH;
    let target = |(nth, (expression, of, legend)): (usize, &(&str, &[&Spec], &str))| {
        let expression = fill(expression, of, namespace);
        json!({"refId": format!("L{nth}"), "datasource": source, "expr": expression, "legendFormat": legend})
    };
    json!({
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": index % in_a_row * WIDTH, "y": index / in_a_row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": panel.lines.iter().enumerate().map(target).collect::<Vec<_>>(),
    })
}
