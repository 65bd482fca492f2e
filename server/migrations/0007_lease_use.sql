-- When a lease was given or last used, Unix seconds: what an idle one still allows does not count against the quota.
ALTER TABLE lease ADD COLUMN touched BIGINT NOT NULL DEFAULT 0;
