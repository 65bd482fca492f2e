-- The ledger: for what nodes are paid, and who owes whom what. Times are Unix seconds unless their name says nanoseconds, money is in
-- micros: millionths of the currency's unit. server/src/ledger explains how one follows from the other.

-- Time is paid for in epochs, one after the other without gaps. The last one is open.
CREATE TABLE ledger_epoch (
    id BIGINT PRIMARY KEY,
    begins BIGINT NOT NULL,
    ends BIGINT NOT NULL,
    -- Rates of cyx_core::earnings, as they were when it began.
    storage_rate BIGINT NOT NULL,
    traffic_rate BIGINT NOT NULL,
    -- Of an operator's pay, so many hundredths are held until the node has left in order.
    hold_percent BIGINT NOT NULL,
    -- 0 while it is open.
    closed_ns BIGINT NOT NULL
);

-- One row: until when what nodes keep has been written down.
CREATE TABLE ledger_meter (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    until BIGINT NOT NULL
);

-- What a node kept in a part of an epoch. No row: the server did not hear of the node.
CREATE TABLE ledger_period (
    node BYTES NOT NULL,
    begins BIGINT NOT NULL,
    ends BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    -- At its end.
    shards BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    -- Bytes times seconds, exactly.
    byte_seconds BIGINT NOT NULL,
    -- For how many seconds the reserve was kept.
    reserved_seconds BIGINT NOT NULL,
    PRIMARY KEY (node, begins)
);
CREATE INDEX ledger_period_epoch ON ledger_period (epoch, node);

-- The highest order of a grant in an epoch, as it was signed: what traffic is paid by.
CREATE TABLE ledger_order (
    epoch BIGINT NOT NULL,
    grant_id BYTES NOT NULL,
    node BYTES NOT NULL,
    -- What the order is checked against.
    session_key BYTES NOT NULL,
    allowance BIGINT NOT NULL,
    -- Traffic that earlier epochs paid, and all of it.
    paid_before BIGINT NOT NULL,
    traffic BIGINT NOT NULL,
    content BYTES NOT NULL,
    PRIMARY KEY (epoch, grant_id)
);
CREATE INDEX ledger_order_node ON ledger_order (node, epoch, grant_id);

-- What an epoch came to for a node.
CREATE TABLE ledger_statement (
    epoch BIGINT NOT NULL,
    node BYTES NOT NULL,
    operator BYTES NOT NULL,
    payout_address TEXT NOT NULL,
    -- Decimal numbers: they may be larger than a BIGINT.
    user_byte_seconds TEXT NOT NULL,
    reserved_byte_seconds TEXT NOT NULL,
    traffic_bytes BIGINT NOT NULL,
    storage_micros BIGINT NOT NULL,
    traffic_micros BIGINT NOT NULL,
    operator_micros BIGINT NOT NULL,
    platform_micros BIGINT NOT NULL,
    -- Part of the operator's share.
    held_micros BIGINT NOT NULL,
    PRIMARY KEY (epoch, node)
);
CREATE INDEX ledger_statement_node ON ledger_statement (node, epoch);

-- Postings: each takes an amount from one account and gives it to another, so the books always balance. Accounts are network (who
-- pays for everything), platform, held:NODE, operator:ACCOUNT and paid:ACCOUNT.
CREATE TABLE ledger_posting (
    epoch BIGINT NOT NULL,
    node BYTES NOT NULL,
    -- earned, fee, held, released, forfeited or paid.
    reason TEXT NOT NULL,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    micros BIGINT NOT NULL CHECK (micros > 0),
    at_ns BIGINT NOT NULL,
    PRIMARY KEY (epoch, node, reason)
);
CREATE INDEX ledger_posting_debit ON ledger_posting (debit);
CREATE INDEX ledger_posting_credit ON ledger_posting (credit);

-- What is to be paid out.
CREATE TABLE ledger_payout (
    epoch BIGINT NOT NULL,
    node BYTES NOT NULL,
    operator BYTES NOT NULL,
    address TEXT NOT NULL,
    micros BIGINT NOT NULL,
    -- Who settled it and under what name; empty until then.
    reference TEXT NOT NULL,
    settled_ns BIGINT NOT NULL,
    PRIMARY KEY (epoch, node)
);
CREATE INDEX ledger_payout_due ON ledger_payout (settled_ns, epoch);
