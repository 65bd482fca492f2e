//! Many small files: up, down, away again.

use crate::bench::{BUCKET, Bench, Cost, middle};
use crate::local::{make_files, text};
use crate::report::{Budget, Figure, Report};
use crate::{Plan, Result, say};

const UP: &str = "up";
const DOWN: &str = "down";
const AWAY: &str = "deleted";
const CALLS: &str = "server calls for a warm 4 KiB put";

/// A folder of equal files.
struct Folder {
    count: usize,
    size: usize,
    /// Files a second, up and down.
    budgets: Option<(f64, f64)>,
}

impl Folder {
    fn name(&self, what: &str) -> String {
        format!("{} files of {} KiB {what}", self.count, self.size >> 10)
    }
}

pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut folders: Vec<Folder> = Vec::new();
    for count in &plan.files {
        folders.push(Folder { count: *count, size: 4 << 10, budgets: Some((3000.0, 5000.0)) });
    }
    folders.push(Folder { count: plan.files.iter().copied().min().unwrap_or(1), size: 100 << 10, budgets: None });
    folders.retain(|folder| [UP, DOWN, AWAY].iter().any(|what| plan.wants(&folder.name(what))));
    if folders.is_empty() && !plan.wants(CALLS) {
        return Ok(());
    }
    let bench = Bench::start(plan, &[], &[])?;
    for (index, folder) in folders.iter().enumerate() {
        bench.folder(index, folder, report)?;
    }
    if plan.wants(CALLS) {
        bench.calls_of_a_put(report)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn folder(&self, index: usize, folder: &Folder, report: &mut Report) -> Result<()> {
        let source = self.user.path(&format!("small-{index}"));
        make_files(&source, folder.count, folder.size)?;
        let source_text = text(&source)?;
        let (mut up, mut down, mut away) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.plan.rounds {
            let key = format!("small-{index}-{round}");
            say(&format!("{} ({})", folder.name("up, down and deleted"), round + 1));
            up.push(self.cost(&["upload", &source_text, "--bucket", BUCKET, "--key", &key, "-r"])?);
            // What comes down stays until the end: where much was deleted a moment ago, ext4 makes new files slowly, because it passes over every
            // inode that was used in the last seconds.
            let back = self.user.path(&format!("{key}-back"));
            down.push(self.cost(&["download", BUCKET, "--key", &key, "-r", "-o", &text(&back)?])?);
            cyx_tests::tree::assert_same(&source, &back);
            away.push(self.cost(&["delete", BUCKET, &key, "-r", "--permanent"])?);
        }
        let figure = |what: &str, costs: &[Cost], budget: Option<f64>| {
            let figure = per_second(folder.name(what), folder.count, costs);
            budget.map_or(figure.clone(), |budget| figure.budget(Budget::AtLeast(budget)))
        };
        report.add(figure(UP, &up, folder.budgets.map(|budgets| budgets.0)));
        report.add(figure(DOWN, &down, folder.budgets.map(|budgets| budgets.1)));
        report.add(figure(AWAY, &away, None));
        Ok(())
    }

    fn calls_of_a_put(&self, report: &mut Report) -> Result<()> {
        say(CALLS);
        let count = self.plan.files.iter().copied().min().unwrap_or(1);
        let (few, many) = (self.user.path("few"), self.user.path("many"));
        make_files(&few, 1, 4 << 10)?;
        make_files(&many, 1 + count, 4 << 10)?;
        let few = self.calls(&["upload", &text(&few)?, "--bucket", BUCKET, "-r"])?;
        let many = self.calls(&["upload", &text(&many)?, "--bucket", BUCKET, "-r"])?;
        let more = (many.0 - few.0) / count as f64;
        let figure = Figure::new(CALLS, more, "calls").budget(Budget::AtMost(1.0));
        report.add(figure.part("of a whole program run with one file", few.0).part("metrics counted", few.1));
        Ok(())
    }
}

fn per_second(name: String, count: usize, costs: &[Cost]) -> Figure {
    let count = count as f64;
    let each = |value: &dyn Fn(&Cost) -> f64| middle(costs, |cost| value(cost) * 1e6 / count);
    Figure::new(name, middle(costs, |cost| count / cost.client.wall.as_secs_f64()), "files/s")
        .part("CPU-us per file: client", each(&|cost| cost.client.cpu.as_secs_f64()))
        .part("server", each(&|cost| cost.server.as_secs_f64()))
        .part("nodes", each(&|cost| cost.nodes.as_secs_f64()))
        .part("files per CPU-s", middle(costs, |cost| count / cost.cpu()))
}
