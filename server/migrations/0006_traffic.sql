-- Traffic: what was promised with grants, what clients signed for, and the sums by which accounts are held to their plans and nodes are
-- paid. Times are Unix seconds.

-- A grant as it was issued: what an order that names it is checked against. Forgotten some days after its end.
CREATE TABLE traffic_grant (
    id BYTES PRIMARY KEY,
    -- Whose traffic it is.
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    node BYTES NOT NULL,
    session_key BYTES NOT NULL,
    -- The lease whose grant it is; empty for a grant to read.
    lease BYTES NOT NULL,
    -- Most bytes that may be moved under it.
    allowance BIGINT NOT NULL,
    -- The highest order so far.
    settled BIGINT NOT NULL,
    -- Until then what is left of the allowance counts as promised. The end of the grant, or sooner if its lease was given back.
    promised_until BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX traffic_grant_account ON traffic_grant (account, promised_until);
CREATE INDEX traffic_grant_lease ON traffic_grant (lease);
CREATE INDEX traffic_grant_expires ON traffic_grant (expires);

-- Settled traffic. Months are year * 100 + month in UTC, those in which orders were handed in.
CREATE TABLE traffic_account (
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    month BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (account, month)
);
CREATE TABLE traffic_node (
    node BYTES NOT NULL,
    month BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (node, month)
);
