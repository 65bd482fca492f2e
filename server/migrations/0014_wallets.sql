-- Wallets that log in to accounts, and what accounts stored day by day. Times are Unix nanoseconds.

-- A wallet logs in to one account. It opens nothing: no key of the account is wrapped under it.
CREATE TABLE wallet (
    address TEXT PRIMARY KEY,                   -- base58 of its Ed25519 key
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_ns BIGINT NOT NULL,
    last_used_ns BIGINT,
    last_address TEXT NOT NULL DEFAULT ''
);
CREATE INDEX wallet_by_account ON wallet (account);
ALTER TABLE session ADD COLUMN wallet TEXT;     -- the one it was logged in with; ends with its link

-- What an account stored when the server first looked on a day: by this it foresees when its space will be full.
CREATE TABLE storage_day (
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    day BIGINT NOT NULL,                        -- since 1970-01-01 in UTC
    time_ns BIGINT NOT NULL,
    used_bytes BIGINT NOT NULL,
    PRIMARY KEY (account, day)
);
CREATE INDEX storage_day_by_day ON storage_day (day);
