-- Second factors, confirmations, API keys, the audit log, lockouts, deletion of accounts. Times are Unix nanoseconds.

-- An authenticator app. Its secret is derived from the account, this random number and a secret of the server, so it lies nowhere.
ALTER TABLE account ADD COLUMN totp_enrolment BYTES;
ALTER TABLE account ADD COLUMN totp_created_ns BIGINT;
ALTER TABLE account ADD COLUMN totp_used_ns BIGINT;
ALTER TABLE account ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0;    -- the newest step whose code was taken: no code counts twice
ALTER TABLE account ADD COLUMN totp_pending BYTES;                      -- enrolled, but not confirmed by a code yet
ALTER TABLE account ADD COLUMN totp_pending_expires_ns BIGINT;
ALTER TABLE account ADD COLUMN delete_ns BIGINT;                        -- when its owner wants it to be gone
ALTER TABLE account ADD COLUMN erased_ns BIGINT;                        -- since when it is nobody's, and only its buckets are left
CREATE INDEX account_deletion ON account (delete_ns) WHERE delete_ns IS NOT NULL;

ALTER TABLE session ADD COLUMN last_used_ns BIGINT NOT NULL DEFAULT 0;  -- login or newest refresh
ALTER TABLE session ADD COLUMN last_address TEXT NOT NULL DEFAULT '';

CREATE TABLE backup_code (
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    hash BYTES NOT NULL,                        -- keyed by a secret of the server
    PRIMARY KEY (account, hash)
);

-- Something that waits for codes. The codes are derived from the id and a secret of the server.
CREATE TABLE challenge (
    id BYTES PRIMARY KEY,
    kind TEXT NOT NULL,                         -- confirm, recover, email
    account BYTES REFERENCES account (id) ON DELETE CASCADE, -- none for the recovery of an address that has no account
    session BYTES REFERENCES session (id) ON DELETE CASCADE,
    detail TEXT NOT NULL DEFAULT '',            -- the new address
    stage BIGINT NOT NULL DEFAULT 0,            -- 1 once the code was taken and more is to come
    tries BIGINT NOT NULL DEFAULT 0,
    expires_ns BIGINT NOT NULL
);
CREATE INDEX challenge_by_account ON challenge (account);
CREATE INDEX challenge_by_session ON challenge (session);
CREATE INDEX challenge_by_expiry ON challenge (expires_ns);

-- Keys of programs. What they may decrypt is opaque to the server and deleted when they are revoked.
CREATE TABLE api_key (
    id BYTES PRIMARY KEY,
    account BYTES NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    permissions TEXT NOT NULL,                  -- separated by spaces
    bucket BYTES,                               -- the only one it may see
    auth_hash BYTES NOT NULL,                   -- SHA-256 of the secret that it logs in with
    wrapped_keys BYTES,                         -- under the secret that is never sent; none once revoked
    signing_public_key BYTES,                   -- its own key in writer lists
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL,
    last_used_ns BIGINT,
    last_address TEXT NOT NULL DEFAULT '',
    revoked_ns BIGINT
);
CREATE INDEX api_key_by_account ON api_key (account);
ALTER TABLE session ADD COLUMN api_key BYTES REFERENCES api_key (id) ON DELETE CASCADE;
CREATE INDEX session_by_api_key ON session (api_key);

-- Failures in a row, and the pause that follows them: it doubles each time.
CREATE TABLE lockout (
    key BYTES PRIMARY KEY,                      -- a hash of what is counted
    failures BIGINT NOT NULL,
    since_ns BIGINT NOT NULL,
    level BIGINT NOT NULL,                      -- pauses in a row
    until_ns BIGINT NOT NULL
);
CREATE INDEX lockout_by_age ON lockout (since_ns);

-- Under what an account appears in the audit log. Without this key, which goes with the account, nobody can tell whose entries they are.
CREATE TABLE audit_subject (
    account BYTES PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    key BYTES NOT NULL,
    subject BYTES NOT NULL UNIQUE               -- the pseudonym, derived from the key
);

-- What happened. Rows are only added, and each is chained to the one before by its hash; old ones go from the front.
CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    time_ns BIGINT NOT NULL,
    subject BYTES NOT NULL,                     -- pseudonym of the account
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    sealed BYTES NOT NULL,                      -- address and details, under a key derived from the account's
    hash BYTES NOT NULL
);
CREATE INDEX audit_by_subject ON audit (subject, seq);
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,                        -- newest
    hash BYTES NOT NULL,                        -- its hash
    first_seq BIGINT NOT NULL,                  -- oldest that is kept
    first_hash BYTES NOT NULL                   -- what it is chained to
);
INSERT INTO audit_head (id, seq, hash, first_seq, first_hash) VALUES (1, 0, CAST('' AS BYTES), 1, CAST('' AS BYTES));
