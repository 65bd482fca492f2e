-- The storage network: who the server is to its nodes, the nodes, where shards may go, what was leased, and what nodes keep.
-- Times are Unix nanoseconds where the name ends in _ns and Unix seconds otherwise.

-- One row. The tag secret names buckets to nodes: without it no stored chunk could be read, so it lives and is backed up with the
-- tree that refers to them.
CREATE TABLE network (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    incarnation BYTES NOT NULL,
    tag_secret BYTES NOT NULL,
    -- Sequence of the newest keep-list round of any node.
    keep_list_sequence BIGINT NOT NULL,
    -- 1 after a restore, until an administrator resumes: no node is told to drop anything meanwhile.
    held BIGINT NOT NULL
);

-- Public keys that nodes are told to believe. The private ones are files in the data folders of the servers.
CREATE TABLE server_key (
    id BYTES PRIMARY KEY,
    public_key BYTES NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE node (
    id BYTES PRIMARY KEY,
    public_key BYTES NOT NULL,
    -- Account that the node belongs to, and its machine as that account registered it.
    operator BYTES NOT NULL,
    machine TEXT NOT NULL,
    address TEXT NOT NULL,
    -- What the address resolved to when the server dialled it: nodes of one network are not trusted to fail independently.
    ip TEXT NOT NULL,
    tls BIGINT NOT NULL,
    version TEXT NOT NULL,
    region TEXT NOT NULL,
    -- Offered in all, as reported with the newest heartbeat: held, in the trash, still accepted.
    capacity BIGINT NOT NULL,
    used BIGINT NOT NULL,
    trash BIGINT NOT NULL,
    free BIGINT NOT NULL,
    chunks BIGINT NOT NULL,
    damaged BIGINT NOT NULL,
    -- Empty unless the node refuses to store.
    read_only TEXT NOT NULL,
    -- alive, suspect or dead, as last seen by a server.
    state TEXT NOT NULL,
    -- Thousandths: how far it is trusted with new shards.
    score BIGINT NOT NULL,
    registered_ns BIGINT NOT NULL,
    last_heartbeat_ns BIGINT NOT NULL
);

CREATE TABLE placement (
    id BYTES PRIMARY KEY,
    k BIGINT NOT NULL,
    m BIGINT NOT NULL,
    -- Node of shard i at 16 * i. At least as many as the write quorum; the shards behind the last one have no node.
    nodes BYTES NOT NULL,
    -- 1 while new leases may use it.
    open BIGINT NOT NULL,
    created_ns BIGINT NOT NULL
);
CREATE INDEX placement_open ON placement (open);

CREATE TABLE placement_node (
    node BYTES NOT NULL,
    placement BYTES NOT NULL,
    shard BIGINT NOT NULL,
    PRIMARY KEY (node, placement)
);
CREATE INDEX placement_node_placement ON placement_node (placement);

-- A right to store. Rows outlive their expiry by the life of receipts, so that what was stored in time can be committed after it.
CREATE TABLE lease (
    id BYTES PRIMARY KEY,
    session BYTES NOT NULL,
    -- Whose quota it counts against: the bucket's owner.
    account BYTES NOT NULL,
    bucket BYTES NOT NULL,
    placement BYTES NOT NULL,
    -- 16 bytes each: nodes that may take the place of those of the placement.
    spares BYTES NOT NULL,
    -- Sealed bytes, before coding.
    allowance BIGINT NOT NULL,
    used BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX lease_account ON lease (account, expires);
CREATE INDEX lease_session ON lease (session, expires);
CREATE INDEX lease_expires ON lease (expires);

-- The newest round of keep-lists of each node.
CREATE TABLE keep_list_round (
    node BYTES PRIMARY KEY,
    sequence BIGINT NOT NULL,
    -- Only chunks whose newest receipt is older are covered.
    before BIGINT NOT NULL,
    -- Last chunk id that the node confirmed; empty: none.
    done BYTES NOT NULL,
    started_ns BIGINT NOT NULL,
    -- 0 until everything is confirmed.
    finished_ns BIGINT NOT NULL,
    trashed_chunks BIGINT NOT NULL,
    trashed_bytes BIGINT NOT NULL
);


-- Shards that should exist and do not.
CREATE TABLE repair (
    segment BYTES NOT NULL,
    shard BIGINT NOT NULL,
    -- unplaced (the upload left it out) or lost (its node reported it).
    reason TEXT NOT NULL,
    queued_ns BIGINT NOT NULL,
    PRIMARY KEY (segment, shard)
);

CREATE TABLE job (
    id BYTES PRIMARY KEY,
    kind TEXT NOT NULL,
    -- running, done or failed.
    status TEXT NOT NULL,
    -- Per cent.
    progress BIGINT NOT NULL,
    detail TEXT NOT NULL,
    started_ns BIGINT NOT NULL,
    -- 0 while it runs.
    finished_ns BIGINT NOT NULL
);
CREATE INDEX job_started ON job (started_ns);
