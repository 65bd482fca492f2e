//! Runs that were recorded, one JSON document per line, and how a run differs from an earlier one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;

/// Adds a run to the file.
pub(crate) fn record(path: &Path, run: &Value, commit: Option<&str>) -> Result<()> {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let mut line = json!({"at": seconds, "commit": commit, "run": run}).to_string();
    line.push('\n');
    // One call, so that runs at the same time do not mix their lines.
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(file.write_all(line.as_bytes())?)
}

/// A figure then and now.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    name: String,
    unit: String,
    then: f64,
    now: f64,
    /// From which recorded run it is.
    commit: String,
}

/// For each figure of this run the last recorded one of the same name and unit, of the same build on as many nodes of the same machine.
fn changes(recorded: &str, run: &Value) -> Vec<Change> {
    let lines: Vec<Value> = recorded.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let comparable = |earlier: &Value| {
        let same = |pointer: &str| earlier["run"].pointer(pointer) == run.pointer(pointer);
        ["/build", "/machine", "/plan/bytes", "/plan/nodes"].into_iter().all(same)
    };
    let earlier: Vec<&Value> = lines.iter().filter(|line| comparable(line)).collect();
    let figures = run["figures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let find = |figure: &Value| {
        let same = |other: &&Value| other["name"] == figure["name"] && other["unit"] == figure["unit"];
        earlier.iter().find_map(|line| {
            let then = line["run"]["figures"].as_array()?.iter().find(same)?["value"].as_f64()?;
            Some(Change {
                name: figure["name"].as_str()?.to_owned(),
                unit: figure["unit"].as_str()?.to_owned(),
                then,
                now: figure["value"].as_f64()?,
                commit: line["commit"].as_str().unwrap_or("?").to_owned(),
            })
        })
    };
    figures.iter().filter_map(find).collect()
}

/// Prints how this run differs from what is recorded.
pub(crate) fn compare(path: &Path, run: &Value, out: &mut impl Write) -> Result<()> {
    let recorded = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let changes = changes(&recorded, run);
    if changes.is_empty() {
        writeln!(out, "\nNothing comparable is recorded in {}.", path.display())?;
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<58} {:>10} {:>10} {:<10} {:>7}  since",
        "Beside the last recorded run", "then", "now", "unit", "ratio"
    )?;
    for change in changes {
        writeln!(
            out,
            "{:<58} {:>10.2} {:>10.2} {:<10} {:>7.2}  {}",
            change.name,
            change.then,
            change.now,
            change.unit,
            change.now / change.then,
            change.commit
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: f64, bytes: u64) -> Value {
        json!({
            "build": "release", "plan": {"bytes": bytes, "nodes": 14}, "machine": {"cpu": "one", "cores": 2},
            "figures": [{"name": "upload", "unit": "CPU-s/GiB", "value": value}],
        })
    }

    #[test]
    fn the_newest_comparable_run_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        for (value, bytes, commit) in [(3.0, 1, "old"), (2.0, 1, "new"), (9.0, 7, "of another size")] {
            record(&path, &run(value, bytes), Some(commit)).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap();
        let found = changes(&recorded, &run(1.0, 1));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].then, found[0].now, found[0].commit.as_str()), (2.0, 1.0, "new"));
        assert!(changes(&recorded, &run(1.0, 5)).is_empty());
    }

    #[test]
    fn other_machines_and_clusters_are_not_comparable() {
        let line = json!({"commit": "a", "run": run(3.0, 1)}).to_string();
        for (pointer, other) in
            [("/plan/nodes", json!(3)), ("/machine/cpu", json!("other")), ("/build", json!("debug"))]
        {
            let mut now = run(1.0, 1);
            assert_eq!(changes(&line, &now).len(), 1);
            *now.pointer_mut(pointer).unwrap() = other;
            assert!(changes(&line, &now).is_empty(), "{pointer}");
        }
    }

    #[test]
    fn half_a_line_does_not_hide_the_others() {
        let line = json!({"commit": "a", "run": run(3.0, 1)}).to_string();
        let found = changes(&format!("{line}\n{{\"commit\": \"b\", \"ru"), &run(1.0, 1));
        assert_eq!(found[0].commit, "a");
    }

    #[test]
    fn nothing_recorded_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        compare(&folder.path().join("none"), &run(1.0, 1), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("Nothing comparable"));
    }
}
