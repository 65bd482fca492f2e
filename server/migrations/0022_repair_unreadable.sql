-- 1: too few of the segment's shards could be reached to read it, as of the last assessment.
ALTER TABLE repair ADD COLUMN unreadable BIGINT NOT NULL DEFAULT 0;
