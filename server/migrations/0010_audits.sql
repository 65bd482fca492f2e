-- What nodes proved of what they were given to keep. server/src/audits explains the columns.

CREATE TABLE node_audit (
    node BYTES PRIMARY KEY,
    -- vetting, trusted, suspended or disqualified, and since when.
    standing TEXT NOT NULL,
    standing_ns BIGINT NOT NULL,
    -- 1 if it was trusted once.
    vetted BIGINT NOT NULL,
    -- Good and bad audits as far as they are remembered, in millionths; the score follows from them and is kept in thousandths.
    good BIGINT NOT NULL,
    bad BIGINT NOT NULL,
    score BIGINT NOT NULL,
    -- All there ever were. Those that failed are counted when they failed again.
    passed BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    corrupt BIGINT NOT NULL,
    timed_out BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    -- Rounds in which it reported and could not be reached.
    unreachable BIGINT NOT NULL,
    -- Since when that is so, 0 if it was reached in the newest round.
    unreachable_ns BIGINT NOT NULL,
    -- It is audited more until then.
    alarm_ns BIGINT NOT NULL,
    last_ns BIGINT NOT NULL,
    last_outcome TEXT NOT NULL
);

-- Slices that were not proven and are asked for once more before anybody is blamed.
CREATE TABLE audit_recheck (
    segment BYTES NOT NULL,
    shard BIGINT NOT NULL,
    -- Where the shard was when it failed.
    node BYTES NOT NULL,
    -- Offset of the slice in the chunk.
    slice BIGINT NOT NULL,
    -- How it failed last, and how often.
    outcome TEXT NOT NULL,
    tries BIGINT NOT NULL,
    due_ns BIGINT NOT NULL,
    PRIMARY KEY (segment, shard)
);
CREATE INDEX audit_recheck_due ON audit_recheck (due_ns);

-- When a slice of any of its shards was proven last; 0: never.
ALTER TABLE segment ADD COLUMN audited_ns BIGINT NOT NULL DEFAULT 0;
