-- Entries, inodes and versions are kept in the trees of their primary keys, not in tables of their own beside them: a row is found with one
-- search instead of two, and a directory's entries lie side by side in the order in which they are listed. PostgreSQL has no such tables.

CREATE TABLE entry_clustered (
    bucket BYTES NOT NULL,
    directory BYTES NOT NULL,
    name BYTES NOT NULL,
    epoch BIGINT NOT NULL,
    child BYTES NOT NULL,
    kind BIGINT NOT NULL,
    wrapped_key BYTES NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (bucket, directory, name, epoch)
) WITHOUT ROWID;
INSERT INTO entry_clustered (bucket, directory, name, epoch, child, kind, wrapped_key, version)
    SELECT bucket, directory, name, epoch, child, kind, wrapped_key, version FROM entry ORDER BY bucket, directory, name, epoch;
DROP TABLE entry;
ALTER TABLE entry_clustered RENAME TO entry;
CREATE INDEX entry_child ON entry (bucket, child);

CREATE TABLE inode_clustered (
    bucket BYTES NOT NULL,
    id BYTES NOT NULL,
    kind BIGINT NOT NULL,
    mode BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    gid BIGINT NOT NULL,
    rdev BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    atime_ns BIGINT NOT NULL,
    nlink BIGINT NOT NULL,
    trashed BIGINT NOT NULL,
    size BIGINT NOT NULL,
    version BIGINT NOT NULL,
    root_page BYTES NOT NULL,
    sealed_target BYTES NOT NULL,
    sealed_meta BYTES NOT NULL,
    meta_version BIGINT NOT NULL,
    key_history BYTES NOT NULL,
    created_ns BIGINT NOT NULL,
    deleted_ns BIGINT NOT NULL,
    key_epoch BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, id)
) WITHOUT ROWID;
INSERT INTO inode_clustered (bucket, id, kind, mode, uid, gid, rdev, mtime_ns, ctime_ns, atime_ns, nlink, trashed, size, version, root_page,
        sealed_target, sealed_meta, meta_version, key_history, created_ns, deleted_ns, key_epoch)
    SELECT bucket, id, kind, mode, uid, gid, rdev, mtime_ns, ctime_ns, atime_ns, nlink, trashed, size, version, root_page,
        sealed_target, sealed_meta, meta_version, key_history, created_ns, deleted_ns, key_epoch FROM inode ORDER BY bucket, id;
DROP TABLE inode;
ALTER TABLE inode_clustered RENAME TO inode;
CREATE INDEX inode_deleted ON inode (deleted_ns) WHERE deleted_ns <> 0;
CREATE INDEX inode_deleted_in ON inode (bucket, deleted_ns) WHERE deleted_ns <> 0;

CREATE TABLE version_clustered (
    bucket BYTES NOT NULL,
    inode BYTES NOT NULL,
    version BIGINT NOT NULL,
    base BIGINT NOT NULL,
    size BIGINT NOT NULL,
    root_page BYTES NOT NULL,
    writer BYTES NOT NULL,
    signature BYTES NOT NULL,
    committed_ns BIGINT NOT NULL,
    superseded_ns BIGINT NOT NULL,
    sequence BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, inode, version)
) WITHOUT ROWID;
INSERT INTO version_clustered (bucket, inode, version, base, size, root_page, writer, signature, committed_ns, superseded_ns, sequence)
    SELECT bucket, inode, version, base, size, root_page, writer, signature, committed_ns, superseded_ns, sequence FROM version
    ORDER BY bucket, inode, version;
DROP TABLE version;
ALTER TABLE version_clustered RENAME TO version;
CREATE INDEX version_superseded ON version (superseded_ns) WHERE superseded_ns <> 0;
CREATE INDEX version_superseded_in ON version (bucket, superseded_ns) WHERE superseded_ns <> 0;
