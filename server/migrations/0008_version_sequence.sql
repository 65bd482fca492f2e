-- Number of the change that made a version, so that readers can judge whether its writer might sign it; 0: made before this was kept.
ALTER TABLE version ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
