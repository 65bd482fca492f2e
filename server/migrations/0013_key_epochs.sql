-- New keys in place of those that somebody may have kept. An epoch counts the keys that an inode had; 0: the first one.
ALTER TABLE inode ADD COLUMN key_epoch BIGINT NOT NULL DEFAULT 0;
-- Opens wrapped_keys for the owner, under the account key, so that a key of one bucket can be given that bucket's new root key.
ALTER TABLE api_key ADD COLUMN owner_wrapped_kek BYTES;
-- Since when a key that may have written has ended while its owner has not closed its place in the writer list; see signing_public_key.
ALTER TABLE api_key ADD COLUMN writer_closed_ns BIGINT;
