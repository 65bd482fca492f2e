//! `cyx verify`.

use std::collections::BTreeSet;

use cyx_client::transfer::{Depth, FileVerified, Progress as _, Transfer, Tuning, Verifier};
use cyx_client::tree::list::Walked;
use cyx_client::{Bucket, Client, Item, TreePath};
use cyx_core::ids::NodeId;
use serde::Serialize;

use super::progress::Bar;
use super::{Context, Failures, bucket_name, kind_word};
use crate::args::tree::Verify;
use crate::error::{Error, Result};
use crate::output::human;
use crate::output::names::{self, Key};

/// One file.
#[derive(Serialize)]
struct Document<'a> {
    bucket: &'a str,
    #[serde(flatten)]
    key: Key,
    size: u64,
    /// Segments that hold something of it; 0 if it lies in the server's database.
    segments: usize,
    /// Scheme of the worst segment.
    scheme: Option<String>,
    shards_total: Option<usize>,
    shards_healthy: Option<usize>,
    shards_needed: Option<usize>,
    /// Lost nodes that the file survives; absent if it lies in the server's database, or cannot be read.
    survives: Option<usize>,
    readable: bool,
    segments_degraded: usize,
    segments_at_risk: usize,
    /// When the server had a node prove something of each segment last.
    last_audit: Option<String>,
    nodes_unreachable: Vec<String>,
    nodes_faulty: Vec<String>,
}

/// What was found in all files.
#[derive(Default)]
struct Report {
    files: u64,
    degraded: u64,
    at_risk: u64,
    unreadable: u64,
    unreachable: BTreeSet<NodeId>,
    faulty: BTreeSet<NodeId>,
}

/// Has nodes prove that files are still there.
///
/// # Errors
/// If a bucket or the key does not exist; a usage error if the key is neither a file nor a directory; if a file cannot be read any more.
pub async fn run(context: &Context, args: &Verify) -> Result<()> {
    let client = context.client().await?;
    let buckets = match &args.bucket {
        Some(name) => vec![client.bucket(bucket_name(name)?).await?],
        None => all_buckets(&client).await?,
    };
    let depth = if args.full { Depth::Whole } else { Depth::Slices };
    let mut job = Job {
        context,
        strict: args.strict,
        verifier: Verifier::new(depth),
        bar: Bar::new(&context.output, false, false),
        failures: Failures::default(),
        report: Report::default(),
    };
    for bucket in &buckets {
        let items = job.find(bucket, args).await?;
        job.bar.found(items.len() as u64, items.iter().map(|item| item.located.inode.size).sum());
        let transfer = Transfer::new(bucket.client(), Some(&context.config.home), Tuning::default());
        for item in &items {
            job.file(bucket, &transfer, item).await;
        }
    }
    job.bar.finish();
    job.report.show(context);
    job.failures.result()
}

async fn all_buckets(client: &Client) -> Result<Vec<Bucket>> {
    let mut buckets = Vec::new();
    for info in client.buckets().await? {
        buckets.push(client.bucket(&info?.name).await?);
    }
    Ok(buckets)
}

struct Job<'a> {
    context: &'a Context,
    strict: bool,
    verifier: Verifier,
    bar: Bar,
    failures: Failures,
    report: Report,
}

impl Job<'_> {
    /// The files that are meant, in the order of their keys.
    async fn find(&mut self, bucket: &Bucket, args: &Verify) -> Result<Vec<Item>> {
        let named = args.key.as_ref().map(|key| TreePath::parse(key.as_encoded_bytes())).transpose()?;
        let mut walk = match &named {
            Some(path) => bucket.walk_entry(path).await?,
            None => bucket.list(b"", true).await?,
        };
        let named = named.map(|path| path.to_bytes());
        let mut items = Vec::new();
        while let Some(found) = walk.next().await {
            match found {
                Walked::Item(item) if kind_word(&item.located) == "file" => {
                    if named.as_ref() == Some(&item.path) {
                        // There is nothing else, so its failure is the command's own.
                        self.failures = Failures::among(1);
                    }
                    items.push(*item);
                }
                // Nothing would be asked about it, which is not the same as that it is well.
                Walked::Item(item) if !item.located.is_directory() && named.as_ref() == Some(&item.path) => {
                    let key = names::escape(&item.path);
                    return Err(Error::usage(format!(
                        "{key} is neither a file nor a directory, so nodes keep nothing of it"
                    )));
                }
                Walked::Item(_) => {}
                Walked::Failed { path, error } => {
                    self.failures.count();
                    self.failures.add(self.context, &path, error.into());
                }
            }
        }
        items.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(items)
    }

    async fn file(&mut self, bucket: &Bucket, transfer: &Transfer, item: &Item) {
        self.failures.count();
        self.bar.begins(&item.path, Some(item.located.inode.size));
        let verified = async {
            let reader = transfer.open_to_check(bucket, &item.located).await?;
            Ok((reader.size(), self.verifier.file(&reader, &self.bar).await?))
        };
        let (size, verified) = match verified.await {
            Ok(verified) => verified,
            Err::<_, cyx_client::Error>(error) => {
                self.failures.add(self.context, &item.path, error.into());
                return;
            }
        };
        self.report.add(&verified);
        // What a check finds is its exit code, also if nobody reads the lines.
        let printed = self.bar.suspend(|| show(self.context, &bucket.name, item, size, &verified));
        self.failures.said(printed);
        if let Some(error) = fault(&item.path, &verified, self.strict) {
            let (context, failures) = (self.context, &mut self.failures);
            self.bar.suspend(|| failures.add(context, &item.path, error));
        }
    }
}

/// Why a file is not as it should be.
fn fault(path: &[u8], verified: &FileVerified, strict: bool) -> Option<Error> {
    let health = &verified.health;
    let key = names::escape(path);
    let scheme = health.scheme?;
    let (healthy, total) = (health.shards_healthy, scheme.n());
    if !health.readable {
        let needed = scheme.k();
        let text = format!("{key} cannot be read now: {healthy} of {total} shards are healthy, {needed} are needed");
        return Some(Error::Unhealthy(text));
    }
    (strict && verified.degraded > 0)
        .then(|| Error::Unhealthy(format!("{key} lacks shards: {healthy} of {total} are healthy")))
}

fn show(context: &Context, bucket: &str, item: &Item, size: u64, verified: &FileVerified) -> Result<()> {
    let health = &verified.health;
    let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect();
    let last_audit = (verified.audited_ns > 0).then_some(verified.audited_ns);
    if context.output.json() {
        return context.output.document(&Document {
            bucket,
            key: Key::new(&item.path),
            size,
            segments: health.segments,
            scheme: health.scheme.map(|scheme| scheme.to_string()),
            shards_total: health.scheme.map(|scheme| scheme.n()),
            shards_healthy: health.scheme.map(|_| health.shards_healthy),
            shards_needed: health.scheme.map(|scheme| scheme.k()),
            survives: health.survives,
            readable: health.readable,
            segments_degraded: verified.degraded,
            segments_at_risk: verified.at_risk,
            last_audit: last_audit.map(human::rfc3339),
            nodes_unreachable: names(&health.unreachable),
            nodes_faulty: names(&health.faulty),
        });
    }
    let before = match health.scheme {
        None => format!("{:<62}", "in the server's database, sealed"),
        Some(scheme) => {
            let survives = health.survives.map_or_else(|| "-".to_owned(), |losses| losses.to_string());
            let audited = last_audit.map_or_else(|| "never".to_owned(), human::local_time);
            let (healthy, total, needed) = (health.shards_healthy, scheme.n(), scheme.k());
            format!(
                "{healthy:>2} of {total:>2} shards, {needed:>2} needed, survives {survives:>2}, audited {audited:<16}  "
            )
        }
    };
    context.output.name_line(&before, &item.path, "")
}

impl Report {
    fn add(&mut self, verified: &FileVerified) {
        self.files += 1;
        self.degraded += u64::from(verified.degraded > 0);
        self.at_risk += u64::from(verified.at_risk > 0);
        self.unreadable += u64::from(!verified.health.readable);
        self.unreachable.extend(&verified.health.unreachable);
        self.faulty.extend(&verified.health.faulty);
    }

    /// The summary, for people.
    fn show(&self, context: &Context) {
        let output = &context.output;
        if output.json() {
            return;
        }
        let files = human::count(self.files, "file", "files");
        if self.degraded == 0 {
            return output.note(format!("Verified {files}: every shard is healthy."));
        }
        output.note(format!(
            "Verified {files}: {} with missing shards, {} at risk, {} not readable now.",
            self.degraded, self.at_risk, self.unreadable
        ));
        for node in &self.unreachable {
            output.note(format!("The storage node {node} does not answer."));
        }
        for node in &self.faulty {
            output.note(format!("The storage node {node} lost or damaged what it was given, or cannot prove it."));
        }
    }
}
