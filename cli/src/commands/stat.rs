//! `cyx stat`.

use cyx_client::transfer::{FileHealth, Transfer, Tuning};
use cyx_client::{Bucket, Located, TreePath};
use cyx_core::ids::NodeId;
use serde::Serialize;

use super::{Context, kind_word};
use crate::args::tree::Stat;
use crate::error::Result;
use crate::output::human;
use crate::output::names::{self, Key};

#[derive(Serialize)]
struct Document {
    bucket: String,
    #[serde(flatten)]
    key: Key,
    kind: &'static str,
    inode: String,
    size: u64,
    version: u64,
    mode: String,
    mtime: String,
    created_at: String,
    links: u32,
    #[serde(flatten)]
    content: Option<Content>,
}

/// How a file's content is stored, as its nodes say now.
#[derive(Serialize)]
struct Content {
    /// Segments that hold something of it; 0 if it lies in the server's database.
    segments: usize,
    /// Scheme of the worst segment.
    scheme: Option<String>,
    shards_total: Option<usize>,
    shards_healthy: Option<usize>,
    /// Lost nodes that the file survives; absent if it lies in the server's database, or cannot be read.
    survives: Option<usize>,
    /// Enough shards are on nodes that are alive.
    readable: bool,
    /// Nodes that did not answer.
    nodes_unreachable: Vec<String>,
    /// Nodes that lost or damaged a shard.
    nodes_faulty: Vec<String>,
}

impl From<FileHealth> for Content {
    fn from(health: FileHealth) -> Self {
        let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect();
        Self {
            segments: health.segments,
            scheme: health.scheme.map(|scheme| scheme.to_string()),
            shards_total: health.scheme.map(|scheme| scheme.n()),
            shards_healthy: health.scheme.map(|_| health.shards_healthy),
            survives: health.survives,
            readable: health.readable,
            nodes_unreachable: names(&health.unreachable),
            nodes_faulty: names(&health.faulty),
        }
    }
}

/// Shows all about a file or directory.
///
/// # Errors
/// If the bucket or the key does not exist; integrity errors.
pub async fn run(context: &Context, args: &Stat) -> Result<()> {
    let path = TreePath::parse(args.key.as_encoded_bytes())?;
    let bucket = context.bucket(&args.bucket).await?;
    let located = bucket.resolve(&path).await?;
    let document = describe(context, &bucket, &path, &located, args.scrub).await?;
    if context.output.json() {
        return context.output.document(&document);
    }
    show(context, &path, &document)
}

async fn describe(
    context: &Context,
    bucket: &Bucket,
    path: &TreePath,
    located: &Located,
    scrub: bool,
) -> Result<Document> {
    let attributes = located.inode.attributes.unwrap_or_default();
    let mut document = Document {
        bucket: bucket.name.clone(),
        key: Key::new(&path.to_bytes()),
        kind: kind_word(located),
        inode: located.id.to_string(),
        size: located.inode.size,
        version: located.inode.version,
        mode: names::octal(attributes.mode),
        mtime: human::rfc3339(attributes.mtime_ns),
        created_at: human::rfc3339(located.inode.created_ns),
        links: located.inode.nlink,
        content: None,
    };
    if document.kind == "file" {
        let transfer = Transfer::new(bucket.client(), Some(&context.config.home), Tuning::default());
        let reader = transfer.open_to_check(bucket, located).await?;
        // What was signed, not what the listing said.
        (document.size, document.version) = (reader.size(), reader.version().version());
        document.content = Some(reader.reported_health(scrub).await?.into());
    }
    Ok(document)
}

fn show(context: &Context, path: &TreePath, document: &Document) -> Result<()> {
    let output = &context.output;
    output.name_line("key       ", &path.to_bytes(), if document.kind == "directory" { "/" } else { "" })?;
    output.line(format!("kind      {}", document.kind))?;
    if document.kind == "file" {
        output.line(format!("size      {} ({} bytes)", human::bytes(document.size), document.size))?;
        output.line(format!("version   {}", document.version))?;
    }
    output.line(format!("mode      {}", document.mode))?;
    output.line(format!("modified  {}", document.mtime))?;
    output.line(format!("inode     {}", document.inode))?;
    let Some(content) = &document.content else { return Ok(()) };
    let (Some(scheme), Some(total), Some(healthy)) = (&content.scheme, content.shards_total, content.shards_healthy)
    else {
        return output.line("stored    in the server's database, sealed");
    };
    let segments = human::count(content.segments as u64, "segment", "segments");
    output.line(format!("stored    {scheme} in {segments}, {healthy} of {total} shards are healthy"))?;
    match content.survives {
        Some(losses) => {
            output.line(format!("survives  the loss of {}", human::count(losses as u64, "node", "nodes")))?;
        }
        None => output.line("survives  nothing: too few nodes have their shard to read it now")?,
    }
    for node in &content.nodes_unreachable {
        output.line(format!("missing   the storage node {node} does not answer"))?;
    }
    for node in &content.nodes_faulty {
        output.line(format!("damaged   the storage node {node} lost or damaged what it was given"))?;
    }
    Ok(())
}
