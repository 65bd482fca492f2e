-- Machines that join: enrolment tokens, where their operators want to be paid, and what their nodes have room for.

-- An enrolment token. It enrols one machine for the account that made it.
CREATE TABLE enrolment (
    token_hash BYTES PRIMARY KEY,
    owner BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL,
    -- The machine that it enrolled; none as long as it is unused.
    machine BYTES
);
CREATE INDEX enrolment_by_owner ON enrolment (owner);
CREATE INDEX enrolment_by_expiry ON enrolment (expires_ns);

-- Where the operator wants to be paid: any word that settlement understands. Empty: the operator is asked.
ALTER TABLE node ADD COLUMN payout_address TEXT NOT NULL DEFAULT '';

-- What every node has room for. The reserve is 2 GiB of each node: see NODE_RESERVATION in cyx_core::units.
CREATE VIEW node_storage_summary AS
SELECT id AS node, operator, state, total_bytes, reserved_bytes, total_bytes - reserved_bytes AS allocatable_bytes, used_bytes,
    CASE WHEN total_bytes - reserved_bytes > used_bytes THEN total_bytes - reserved_bytes - used_bytes ELSE 0 END AS available_bytes,
    CASE WHEN total_bytes - reserved_bytes > 0
        THEN CAST(used_bytes AS DOUBLE PRECISION) / CAST(total_bytes - reserved_bytes AS DOUBLE PRECISION) ELSE 1.0 END AS utilization
FROM (
    SELECT id, operator, state, capacity AS total_bytes, used AS used_bytes,
        CASE WHEN capacity < 2147483648 THEN capacity ELSE 2147483648 END AS reserved_bytes
    FROM node
) AS rooms;
