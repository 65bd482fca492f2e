//! What was measured, as a table for people and as JSON for programs.

use std::io::Write;

use serde_json::{Value, json};

use crate::raw::Raw;
use crate::{Plan, Result};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Budget {
    /// Not less.
    AtLeast(f64),
    /// Not more.
    AtMost(f64),
}

impl Budget {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
        }
    }
}

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    budget: Option<Budget>,
    limit: Option<f64>,
    parts: Vec<(String, f64)>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, budget: None, limit: None, parts: Vec::new() }
    }

    /// What it should be.
    pub(crate) fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// What the machine allows at best, in the same unit.
    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The value and the parts of another figure as parts of this one.
    pub(crate) fn parts_of(mut self, other: &Self, name: &str) -> Self {
        self.parts.push((name.to_owned(), other.value));
        self.parts.extend(other.parts.iter().cloned());
        self
    }

    /// The value of a part.
    pub(crate) fn value_of(&self, part: &str) -> f64 {
        self.parts.iter().find(|(name, _)| name == part).map_or(f64::NAN, |(_, value)| *value)
    }

    /// Something that it consists of, or that helps to understand it.
    pub(crate) fn part(mut self, name: impl Into<String>, value: f64) -> Self {
        self.parts.push((name.into(), value));
        self
    }
}

/// All figures of a run.
pub(crate) struct Report {
    pub(crate) raw: Raw,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(raw: Raw) -> Self {
        Self { raw, figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    fn raw_rows(&self) -> [(&'static str, &'static str, f64, &'static str); 12] {
        let raw = &self.raw;
        [
            ("cipher", "AES-256-GCM, frames of 16 KiB", raw.cipher, "GB/s"),
            ("hash", "BLAKE3, chunks of 512 KiB", raw.hash, "GB/s"),
            ("code", "10+4 parity, in cache", raw.code, "GB/s"),
            ("copy", "copying in memory", raw.copy, "GB/s"),
            ("touch", "fresh memory", raw.touch, "GB/s"),
            ("tcp", "loopback, bare TCP, both ends", raw.tcp, "CPU-s/GiB"),
            ("grpc", "loopback, gRPC stream, both ends", raw.grpc, "CPU-s/GiB"),
            ("file_write", "writing a new file", raw.file_write, "CPU-s/GiB"),
            ("file_write_idle", "the same, into memory that was idle", raw.file_write_idle, "CPU-s/GiB"),
            ("file_read", "reading a file in memory", raw.file_read, "CPU-s/GiB"),
            ("disk", "append 1 MiB and fdatasync", raw.disk, "MB/s"),
            ("fsync", "fdatasync of 4 KiB, median", raw.fsync, "ms"),
        ]
    }

    /// The table.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "Raw limits of this machine (rates are for one core)")?;
        for (_, what, value, unit) in self.raw_rows() {
            writeln!(out, "  {what:<44} {:>9} {unit}", number(value))?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "{:<58} {:>9} {:<10} {:>9}  {:<5} {:>7} {:>6}",
            "Figure", "value", "unit", "budget", "", "limit", "ratio"
        )?;
        for figure in &self.figures {
            let budget = figure.budget.map_or_else(String::new, Budget::shown);
            let met = match figure.budget.map(|budget| budget.is_met(figure.value)) {
                Some(true) => "ok",
                Some(false) => "MISS",
                None => "",
            };
            let limit = figure.limit.map_or_else(String::new, number);
            let ratio = figure.limit.map_or_else(String::new, |limit| format!("{:.2}", figure.value / limit));
            writeln!(
                out,
                "{:<58} {:>9} {:<10} {budget:>9}  {met:<5} {limit:>7} {ratio:>6}",
                figure.name,
                number(figure.value),
                figure.unit
            )?;
            if !figure.parts.is_empty() {
                let parts: Vec<String> =
                    figure.parts.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
                writeln!(out, "    {}", parts.join(", "))?;
            }
        }
        Ok(())
    }

    /// The same for programs.
    pub(crate) fn json(&self, plan: &Plan) -> Value {
        let raw: serde_json::Map<String, Value> = self
            .raw_rows()
            .into_iter()
            .map(|(key, _, value, unit)| (key.to_owned(), json!({"value": value, "unit": unit})))
            .collect();
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let (at_least, at_most) = match figure.budget {
                    Some(Budget::AtLeast(limit)) => (Some(limit), None),
                    Some(Budget::AtMost(limit)) => (None, Some(limit)),
                    None => (None, None),
                };
                let parts: serde_json::Map<String, Value> =
                    figure.parts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                json!({
                    "name": figure.name,
                    "value": figure.value,
                    "unit": figure.unit,
                    "at_least": at_least,
                    "at_most": at_most,
                    "met": figure.budget.map(|budget| budget.is_met(figure.value)),
                    "limit": figure.limit,
                    "ratio": figure.limit.map(|limit| figure.value / limit),
                    "parts": parts,
                })
            })
            .collect();
        json!({
            "machine": {"cpu": cpu_name(), "cores": std::thread::available_parallelism().map_or(0, usize::from)},
            "build": if cfg!(debug_assertions) { "debug" } else { "release" },
            "plan": {
                "bytes": plan.size, "files": plan.files, "entries": plan.entries,
                "rounds": plan.rounds, "nodes": plan.nodes,
            },
            "raw": raw,
            "figures": figures,
        })
    }
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1)).map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        medium if medium < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_met_on_its_own_side() {
        assert!(Budget::AtLeast(2.0).is_met(2.0) && !Budget::AtLeast(2.0).is_met(1.9));
        assert!(Budget::AtMost(2.0).is_met(2.0) && !Budget::AtMost(2.0).is_met(2.1));
    }

    #[test]
    fn the_table_names_what_missed() {
        let mut report = Report::new(Raw::default());
        report.add(Figure::new("upload", 4.0, "CPU-s/GiB").budget(Budget::AtMost(3.5)).limit(2.0).part("client", 1.0));
        let mut text = Vec::new();
        report.print(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("MISS") && text.contains("client 1.00"), "{text}");
    }
}
