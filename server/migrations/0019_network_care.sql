-- Seconds by which a node's clock is ahead of the server's, as of its newest heartbeat: also for servers that it does not report to.
ALTER TABLE node ADD COLUMN skew BIGINT NOT NULL DEFAULT 0;

-- 1: another node could not use the chunk, so that its node is asked about it soon. Nobody is blamed for what another one says: until the
-- server has asked itself, it counts as never asked.
ALTER TABLE audit_recheck ADD COLUMN hinted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX audit_recheck_hinted ON audit_recheck (hinted) WHERE hinted = 1;

-- Shards that were lost, made anew or moved since the ledger's meter last passed: for what came before, the node that had the shard is paid.
CREATE TABLE shard_change (
    id BYTES PRIMARY KEY,
    segment BYTES NOT NULL,
    shard BIGINT NOT NULL,
    at_ns BIGINT NOT NULL,
    -- The node that had it until then, and the one that has it since; empty: none.
    had BYTES NOT NULL,
    has BYTES NOT NULL
);
CREATE INDEX shard_change_segment ON shard_change (segment);
CREATE INDEX shard_change_at ON shard_change (at_ns);
