//! `cyx list`.

use cyx_client::tree::list::{Walk, Walked};
use cyx_client::{Item, Located};
use serde::Serialize;

use super::{Context, Failures, kind_word};
use crate::args::tree::List;
use crate::error::Result;
use crate::output::human;
use crate::output::names::{self, Key};

/// What is shown of an entry; small, because a whole tree of them is sorted.
struct Row {
    key: Vec<u8>,
    kind: &'static str,
    mode: u32,
    size: u64,
    mtime_ns: i64,
    version: u64,
    inode: String,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    key: Key,
    kind: &'a str,
    size: u64,
    mtime: String,
    mode: String,
    version: u64,
    inode: &'a str,
}

/// Lists buckets, or what is in one.
///
/// # Errors
/// If the bucket does not exist; if something in it is not authentic, after the rest was listed.
pub async fn run(context: &Context, args: &List) -> Result<()> {
    let Some(bucket) = &args.bucket else { return super::bucket::list(context, args.long).await };
    let bucket = context.bucket(bucket).await?;
    let prefix = args.prefix.as_deref().map_or(&b""[..], |prefix| prefix.as_encoded_bytes());
    let mut failures = Failures::default();
    let mut rows = collect(context, bucket.list(prefix, args.recursive).await?, &mut failures).await;
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    for row in &rows {
        show(context, row, args.long)?;
    }
    failures.result()
}

async fn collect(context: &Context, mut walk: Walk, failures: &mut Failures) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(found) = walk.next().await {
        failures.count();
        match found {
            Walked::Item(item) => {
                let Item { path, located } = *item;
                rows.push(Row::new(path, &located));
            }
            Walked::Failed { path, error } => failures.add(context, &path, error.into()),
        }
    }
    rows
}

impl Row {
    fn new(key: Vec<u8>, located: &Located) -> Self {
        let attributes = located.inode.attributes.unwrap_or_default();
        Self {
            key,
            kind: kind_word(located),
            mode: attributes.mode,
            size: located.inode.size,
            mtime_ns: attributes.mtime_ns,
            version: located.inode.version,
            inode: located.id.to_string(),
        }
    }
}

fn show(context: &Context, row: &Row, long: bool) -> Result<()> {
    if context.output.json() {
        return context.output.document(&Document {
            key: Key::new(&row.key),
            kind: row.kind,
            size: row.size,
            mtime: human::rfc3339(row.mtime_ns),
            mode: names::octal(row.mode),
            version: row.version,
            inode: &row.inode,
        });
    }
    let directory = row.kind == "directory";
    let after = if directory { "/" } else { "" };
    if !long {
        return context.output.name_line("", &row.key, after);
    }
    let letter = match row.kind {
        "directory" => 'd',
        "symlink" => 'l',
        "file" => '-',
        _ => '?',
    };
    let size = if directory { "-".to_owned() } else { human::bytes(row.size) };
    let (permissions, time) = (human::permissions(row.mode), human::local_time(row.mtime_ns));
    let version = if row.version == 0 { String::new() } else { format!("v{}", row.version) };
    context.output.name_line(&format!("{letter}{permissions}  {size:>10}  {time}  {version:>5}  "), &row.key, after)
}
