-- The encrypted tree, its content and what was said about it. docs/metadata.md explains tables, counters and invariants.
-- Ids are 16 bytes, page ids 32; *_ns are Unix nanoseconds, *_at Unix seconds; 0 stands for "not".

CREATE TABLE bucket (
    id BYTES NOT NULL PRIMARY KEY,
    owner BYTES NOT NULL,
    owner_key BYTES NOT NULL,
    root BYTES NOT NULL,
    sealed_name BYTES NOT NULL,
    durable BIGINT NOT NULL,
    -- Number of the newest change; every entry version is one of these numbers.
    sequence BIGINT NOT NULL,
    -- Entries of the writer list.
    writers BIGINT NOT NULL,
    -- Fencing number of the newest write lease.
    fencing BIGINT NOT NULL,
    -- Sealed bytes that live or trashed versions refer to, and bytes of segments that no blob claims.
    used_bytes BIGINT NOT NULL,
    -- Sealed bytes that only superseded versions or unlinked inodes refer to.
    superseded_bytes BIGINT NOT NULL,
    -- Files with a link or in the trash.
    files BIGINT NOT NULL,
    created_ns BIGINT NOT NULL,
    -- Set when the bucket was deleted and its content is being cleared away.
    deleted_ns BIGINT NOT NULL
);
CREATE INDEX bucket_deleted ON bucket (deleted_ns) WHERE deleted_ns <> 0;
CREATE INDEX bucket_owner ON bucket (owner);

CREATE TABLE bucket_member (
    bucket BYTES NOT NULL,
    account BYTES NOT NULL,
    name_token BYTES NOT NULL,
    wrapped_root_key BYTES NOT NULL,
    PRIMARY KEY (bucket, account)
);
CREATE UNIQUE INDEX bucket_member_name ON bucket_member (account, name_token);

CREATE TABLE writer_entry (
    bucket BYTES NOT NULL,
    position BIGINT NOT NULL,
    entry BYTES NOT NULL,
    PRIMARY KEY (bucket, position)
);

CREATE TABLE inode (
    bucket BYTES NOT NULL,
    id BYTES NOT NULL,
    kind BIGINT NOT NULL,
    mode BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    gid BIGINT NOT NULL,
    rdev BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    atime_ns BIGINT NOT NULL,
    -- Entries of a file; 2 and the subdirectories of a directory, 0 of a removed one.
    nlink BIGINT NOT NULL,
    -- Entries that are in the trash.
    trashed BIGINT NOT NULL,
    size BIGINT NOT NULL,
    version BIGINT NOT NULL,
    root_page BYTES NOT NULL,
    sealed_target BYTES NOT NULL,
    sealed_meta BYTES NOT NULL,
    meta_version BIGINT NOT NULL,
    key_history BYTES NOT NULL,
    created_ns BIGINT NOT NULL,
    -- Set while no entry of the tree leads to it.
    deleted_ns BIGINT NOT NULL,
    PRIMARY KEY (bucket, id)
);
CREATE INDEX inode_deleted ON inode (deleted_ns) WHERE deleted_ns <> 0;
CREATE INDEX inode_deleted_in ON inode (bucket, deleted_ns) WHERE deleted_ns <> 0;

CREATE TABLE entry (
    bucket BYTES NOT NULL,
    directory BYTES NOT NULL,
    name BYTES NOT NULL,
    epoch BIGINT NOT NULL,
    child BYTES NOT NULL,
    kind BIGINT NOT NULL,
    wrapped_key BYTES NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (bucket, directory, name, epoch)
);
CREATE INDEX entry_child ON entry (bucket, child);

CREATE TABLE trash (
    bucket BYTES NOT NULL,
    id BYTES NOT NULL,
    directory BYTES NOT NULL,
    name BYTES NOT NULL,
    epoch BIGINT NOT NULL,
    child BYTES NOT NULL,
    kind BIGINT NOT NULL,
    wrapped_key BYTES NOT NULL,
    deleted_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL,
    PRIMARY KEY (bucket, id)
);
CREATE INDEX trash_child ON trash (bucket, child);
CREATE INDEX trash_expires ON trash (expires_ns);

-- Directories that no name leads to any more and whose content is being cleared away step by step.
CREATE TABLE purge (
    bucket BYTES NOT NULL,
    inode BYTES NOT NULL,
    queued_ns BIGINT NOT NULL,
    PRIMARY KEY (bucket, inode)
);

CREATE TABLE version (
    bucket BYTES NOT NULL,
    inode BYTES NOT NULL,
    version BIGINT NOT NULL,
    base BIGINT NOT NULL,
    size BIGINT NOT NULL,
    root_page BYTES NOT NULL,
    writer BYTES NOT NULL,
    signature BYTES NOT NULL,
    committed_ns BIGINT NOT NULL,
    superseded_ns BIGINT NOT NULL,
    PRIMARY KEY (bucket, inode, version)
);
CREATE INDEX version_superseded ON version (superseded_ns) WHERE superseded_ns <> 0;
CREATE INDEX version_superseded_in ON version (bucket, superseded_ns) WHERE superseded_ns <> 0;

CREATE TABLE extent_page (
    bucket BYTES NOT NULL,
    id BYTES NOT NULL,
    level BIGINT NOT NULL,
    first_offset BIGINT NOT NULL,
    -- File offset behind the last extent at or below the page.
    end_offset BIGINT NOT NULL,
    -- Versions whose root it is, and pages above it.
    refs BIGINT NOT NULL,
    -- The same, counting only live versions and pages that count themselves.
    live_refs BIGINT NOT NULL,
    content BYTES NOT NULL,
    PRIMARY KEY (bucket, id)
);

CREATE TABLE blob (
    bucket BYTES NOT NULL,
    id BYTES NOT NULL,
    -- Sealed bytes.
    length BIGINT NOT NULL,
    -- Where they are: here, or in a segment.
    inline_bytes BYTES,
    segment BYTES,
    segment_offset BIGINT NOT NULL,
    -- Leaf pages that refer to it, counted as pages are.
    refs BIGINT NOT NULL,
    live_refs BIGINT NOT NULL,
    -- Transaction under which it waits for its first reference.
    staged BYTES,
    PRIMARY KEY (bucket, id)
);
CREATE INDEX blob_segment ON blob (segment) WHERE segment IS NOT NULL;
CREATE INDEX blob_staged ON blob (bucket, staged) WHERE staged IS NOT NULL;

CREATE TABLE segment (
    id BYTES NOT NULL PRIMARY KEY,
    bucket BYTES NOT NULL,
    k BIGINT NOT NULL,
    m BIGINT NOT NULL,
    length BIGINT NOT NULL,
    -- Bytes that no blob was placed in; they count as used.
    slack BIGINT NOT NULL,
    placement BYTES NOT NULL,
    -- Bit i: shard i is stored.
    present BIGINT NOT NULL,
    roots BYTES NOT NULL,
    -- Blobs in it, staged ones included.
    live_blobs BIGINT NOT NULL,
    created_ns BIGINT NOT NULL,
    -- Set when its last blob went. Its shards stay in keep-lists for a while.
    freed_ns BIGINT NOT NULL
);
CREATE INDEX segment_placement ON segment (placement, id);
CREATE INDEX segment_bucket ON segment (bucket);
CREATE INDEX segment_freed ON segment (freed_ns) WHERE freed_ns <> 0;

CREATE TABLE segment_override (
    segment BYTES NOT NULL,
    shard BIGINT NOT NULL,
    node BYTES NOT NULL,
    PRIMARY KEY (segment, shard)
);
CREATE INDEX segment_override_node ON segment_override (node, segment);


CREATE TABLE staged (
    bucket BYTES NOT NULL,
    txn BYTES NOT NULL,
    account BYTES NOT NULL,
    -- Sealed bytes of its blobs that no commit has taken yet.
    bytes BIGINT NOT NULL,
    last_call_ns BIGINT NOT NULL,
    PRIMARY KEY (bucket, txn)
);
CREATE INDEX staged_account ON staged (account);
CREATE INDEX staged_last_call ON staged (last_call_ns);

CREATE TABLE write_lease (
    bucket BYTES NOT NULL PRIMARY KEY,
    lease BYTES NOT NULL,
    fencing BIGINT NOT NULL,
    session BYTES NOT NULL,
    holder TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    recalled BIGINT NOT NULL
);

CREATE TABLE change (
    bucket BYTES NOT NULL,
    sequence BIGINT NOT NULL,
    at_ns BIGINT NOT NULL,
    -- A cyx.meta.v1.Change.
    content BYTES NOT NULL,
    PRIMARY KEY (bucket, sequence)
);
CREATE INDEX change_at ON change (at_ns);

CREATE TABLE mutation_result (
    bucket BYTES NOT NULL,
    txn BYTES NOT NULL,
    at_ns BIGINT NOT NULL,
    -- A cyx.meta.v1.MutationResult.
    result BYTES NOT NULL,
    PRIMARY KEY (bucket, txn)
);
CREATE INDEX mutation_result_at ON mutation_result (at_ns);
