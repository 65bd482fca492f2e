-- Which attempt used an enrolment token: one whose answer was lost may be repeated by the machine that made it.
ALTER TABLE enrolment ADD COLUMN attempt_hash BYTES;

-- 1: the node takes part in no repairs, so no task is planned for it.
ALTER TABLE node ADD COLUMN takes_no_tasks BIGINT NOT NULL DEFAULT 0;
