-- Accounts, sessions, tokens, machines and outgoing mail. Times are Unix nanoseconds unless their name says seconds.

-- A person's account. What is wrapped is opaque to the server.
CREATE TABLE account (
    id BYTES PRIMARY KEY,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL UNIQUE,          -- in lower case: names that differ only in case are the same
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,             -- in lower case
    verified BIGINT NOT NULL,                   -- 1 after the first login, which proves that mail arrives
    disabled BIGINT NOT NULL DEFAULT 0,
    role TEXT NOT NULL,
    plan TEXT NOT NULL,
    limit_bytes BIGINT NOT NULL,
    traffic_limit_bytes BIGINT NOT NULL,
    used_bytes BIGINT NOT NULL DEFAULT 0,       -- live and trashed ciphertext
    superseded_bytes BIGINT NOT NULL DEFAULT 0, -- replaced ciphertext that is still readable
    salt BYTES NOT NULL,
    memory_kib BIGINT NOT NULL,
    passes BIGINT NOT NULL,
    lanes BIGINT NOT NULL,
    auth_hash BYTES NOT NULL,                   -- SHA-256 of the auth key
    wrapped_account_key BYTES NOT NULL,
    recovery_wrapped_account_key BYTES NOT NULL,
    signing_public_key BYTES NOT NULL,
    exchange_public_key BYTES NOT NULL,
    wrapped_private_keys BYTES NOT NULL,
    created_ns BIGINT NOT NULL
);

-- A login between password and one-time code. The code itself is derived from the id and a secret of the server.
CREATE TABLE login (
    id BYTES PRIMARY KEY,                       -- becomes the session's id
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    device_name TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    expires_ns BIGINT NOT NULL
);
CREATE INDEX login_by_account ON login (account);
CREATE INDEX login_by_expiry ON login (expires_ns);

-- A logged-in device. Its refresh tokens form one family.
CREATE TABLE session (
    id BYTES PRIMARY KEY,
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    device_name TEXT NOT NULL,
    public_key BYTES NOT NULL,                  -- Ed25519: grants are bound to it
    wrapped_account_key BYTES,                  -- under this device's secret; gone once the session is revoked
    generation BIGINT NOT NULL,                 -- of the newest refresh token
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL,                 -- of the newest refresh token
    revoked_ns BIGINT
);
CREATE INDEX session_by_account ON session (account);
CREATE INDEX session_by_expiry ON session (expires_ns);

CREATE TABLE refresh_token (
    hash BYTES PRIMARY KEY,
    session BYTES NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL
);
CREATE INDEX refresh_token_by_session ON refresh_token (session, generation);

-- Counted events of a time window: failed logins, mails. The key is a hash of what is counted.
CREATE TABLE attempt (
    key BYTES PRIMARY KEY,
    count BIGINT NOT NULL,
    since_ns BIGINT NOT NULL
);
CREATE INDEX attempt_by_age ON attempt (since_ns);

-- A machine that runs a storage node.
CREATE TABLE machine (
    id BYTES PRIMARY KEY,
    owner BYTES REFERENCES account (id) ON DELETE CASCADE, -- nobody for machines enrolled by whoever runs the server
    hostname TEXT NOT NULL,
    os TEXT NOT NULL,
    hardware TEXT NOT NULL,                     -- JSON
    api_key_hash BYTES NOT NULL,
    address TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    load_thousandths BIGINT NOT NULL DEFAULT 0,
    created_ns BIGINT NOT NULL,
    last_seen_ns BIGINT NOT NULL,
    revoked_ns BIGINT
);
CREATE INDEX machine_by_owner ON machine (owner);

-- Mail that waits to be sent: which letter to whom, not its text, so that no code lies in the database.
CREATE TABLE mail (
    id BYTES PRIMARY KEY,
    recipient TEXT NOT NULL,
    letter TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_ns BIGINT NOT NULL,                    -- not to be sent before
    expires_ns BIGINT NOT NULL                  -- of no use afterwards
);
CREATE INDEX mail_by_time ON mail (next_ns);
