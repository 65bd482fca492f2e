-- New account keys in place of those that somebody may have kept. An epoch counts the keys that an account had; 0: the first one.
ALTER TABLE account ADD COLUMN key_epoch BIGINT NOT NULL DEFAULT 0;
-- The keys of before, each sealed under the one that took its place; opaque, none before the first replacement.
ALTER TABLE account ADD COLUMN key_history BYTES;
