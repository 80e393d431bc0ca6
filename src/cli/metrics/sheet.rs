//! Collects samples and writes them as Prometheus reads them.

use std::collections::HashMap;

use anyhow::Context as _;
use prometheus::core::{AtomicF64, GenericCounterVec};
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

use super::table::{Kind, Spec};
use crate::cli::Result;

/// What is to be printed.
pub(super) struct Sheet {
    registry: Registry,
    families: HashMap<&'static str, Family>,
}

enum Family {
    Counter(GenericCounterVec<AtomicF64>),
    Gauge(GaugeVec),
}

impl Sheet {
    /// Nothing yet. All names will begin with the namespace, and all samples have these labels.
    pub(super) fn new(namespace: &str, labels: HashMap<String, String>) -> Result<Sheet> {
        let registry = Registry::new_custom(Some(namespace.to_owned()), Some(labels));
        let registry = registry.context("metrics cannot be collected under these names")?;
        Ok(Sheet { registry, families: HashMap::new() })
    }

    /// Puts down a number. A metric of which there is none is not printed.
    pub(super) fn put(&mut self, spec: &Spec, labels: &[&str], value: f64) -> Result<()> {
        match self.family(spec)? {
            Family::Gauge(gauge) => gauge.get_metric_with_label_values(labels)?.set(value),
            Family::Counter(counter) => counter.get_metric_with_label_values(labels)?.inc_by(value),
        }
        Ok(())
    }

    fn family(&mut self, spec: &Spec) -> Result<&Family> {
        if !self.families.contains_key(spec.name) {
            let opts = Opts::new(spec.name, spec.help);
            let family = match spec.kind {
                Kind::Gauge => {
                    let gauge = GaugeVec::new(opts, spec.labels)?;
                    self.registry.register(Box::new(gauge.clone()))?;
                    Family::Gauge(gauge)
                }
                Kind::Counter => {
                    let counter = GenericCounterVec::new(opts, spec.labels)?;
                    self.registry.register(Box::new(counter.clone()))?;
                    Family::Counter(counter)
                }
            };
            self.families.insert(spec.name, family);
        }
        self.families.get(spec.name).with_context(|| format!("there is no metric {}", spec.name))
    }

    /// All of it, in the text format 0.0.4.
    pub(super) fn text(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).context("metrics cannot be written")
    }
}
