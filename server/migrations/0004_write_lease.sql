-- How often a bucket's write leases were recalled in a row, and until when nobody gets another (Unix seconds).
ALTER TABLE write_lease ADD COLUMN recalls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE write_lease ADD COLUMN quiet_until BIGINT NOT NULL DEFAULT 0;
