-- Repair and moves: which nodes are leaving, what is queued, what nodes are making at present, and which server runs a job.
-- Times are Unix nanoseconds where the name ends in _ns and Unix seconds otherwise.

-- States are online, suspect, offline and lost from now on.
UPDATE node SET state = CASE state WHEN 'alive' THEN 'online' WHEN 'dead' THEN 'offline' ELSE state END;

-- none, draining (an administrator empties it), exiting (its operator ends it) or exited (it holds nothing any more).
ALTER TABLE node ADD COLUMN leaving TEXT NOT NULL DEFAULT 'none';
ALTER TABLE node ADD COLUMN leaving_ns BIGINT NOT NULL DEFAULT 0;
-- What was handed over since then.
ALTER TABLE node ADD COLUMN moved_chunks BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN moved_bytes BIGINT NOT NULL DEFAULT 0;
-- The server's signed word that an exit is complete.
ALTER TABLE node ADD COLUMN exit_receipt BYTES;
-- Why all that it holds stands in the queue of repairs: gone or leaving; empty if it does not.
ALTER TABLE node ADD COLUMN queued TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN queued_ns BIGINT NOT NULL DEFAULT 0;

-- Further reasons: gone (its node is lost), leaving, rebalance and diversity (it is there and should be elsewhere).
-- Where the shard lies, if that is why it is queued.
ALTER TABLE repair ADD COLUMN node BYTES;
-- Shards that may still be lost before the segment is, as of the last assessment.
ALTER TABLE repair ADD COLUMN margin BIGINT NOT NULL DEFAULT 0;
-- 1: something is to be done about it.
ALTER TABLE repair ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
-- 0: to be assessed.
ALTER TABLE repair ADD COLUMN assessed_ns BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repair ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE repair ADD COLUMN not_before_ns BIGINT NOT NULL DEFAULT 0;
CREATE INDEX repair_due ON repair (due, margin, queued_ns);
CREATE INDEX repair_node ON repair (node) WHERE node IS NOT NULL;
CREATE INDEX repair_new ON repair (segment) WHERE assessed_ns = 0;

-- A chunk that a node is to make.
CREATE TABLE repair_task (
    id BYTES PRIMARY KEY,
    segment BYTES NOT NULL,
    shard BIGINT NOT NULL,
    -- rebuild (from any k others) or copy (from where it is).
    kind TEXT NOT NULL,
    target BYTES NOT NULL,
    -- Where the shard lay when this was planned; empty: nowhere.
    source BYTES NOT NULL,
    -- Length of the chunk.
    bytes BIGINT NOT NULL,
    -- Nodes that the target may ask, 16 bytes each; empty until it has fetched the task.
    asked BYTES NOT NULL,
    created_ns BIGINT NOT NULL,
    -- 0 until the target has fetched it.
    handed_ns BIGINT NOT NULL,
    deadline_ns BIGINT NOT NULL,
    UNIQUE (segment, shard)
);
CREATE INDEX repair_task_target ON repair_task (target, handed_ns);

-- Grants by which nodes read from each other: what the orders for that traffic are checked against.
CREATE TABLE repair_grant (
    id BYTES PRIMARY KEY,
    -- The node that is read from.
    node BYTES NOT NULL,
    -- The key of the node that reads.
    session_key BYTES NOT NULL,
    allowance BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX repair_grant_expires ON repair_grant (expires);

-- Which server runs a job that must run once.
CREATE TABLE job_lease (
    name TEXT PRIMARY KEY,
    holder BYTES NOT NULL,
    -- Grows with every new holder: what an earlier one still wants to write is refused.
    fencing BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL
);
