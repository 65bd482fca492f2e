//! Attributes and sealed metadata of an inode.

use cyx_core::error::ErrorCode;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;

use super::error::TreeError;
use super::model::InodeRow;
use super::rekey::require_newest_of;
use super::request::{SetAttributes, SetMeta};
use super::sql;
use super::work::Work;
use crate::db::DbError;

impl Work<'_> {
    pub(super) async fn set_attributes(&mut self, set: &SetAttributes) -> Result<pb::OperationResult, TreeError> {
        let mut inode = self.inode_or_refuse(set.inode).await?;
        inode.mode = set.mode.unwrap_or(inode.mode);
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        inode.mtime_ns = set.mtime_ns.unwrap_or(inode.mtime_ns);
        inode.atime_ns = set.atime_ns.unwrap_or(inode.atime_ns);
        let only_access = set.mode.is_none() && set.uid.is_none() && set.gid.is_none() && set.mtime_ns.is_none();
        inode.ctime_ns = match set.ctime_ns {
            Some(ctime) => ctime,
            None if only_access => inode.ctime_ns,
            None => self.stamp,
        };
        self.put_attributes(&inode).await?;
        self.record(of_inode(Kind::Attributes, &inode));
        Ok(pb::OperationResult { inode: Some(inode.to_pb()), ..pb::OperationResult::default() })
    }

    async fn put_attributes(&mut self, inode: &InodeRow) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE inode SET mode = $3, uid = $4, gid = $5, mtime_ns = $6, atime_ns = $7, ctime_ns = $8 \
             WHERE bucket = $1 AND id = $2",
        )
        .bind(self.bucket.id.to_vec())
        .bind(inode.id.to_vec())
        .bind(i64::from(inode.mode))
        .bind(i64::from(inode.uid))
        .bind(i64::from(inode.gid))
        .bind(inode.mtime_ns)
        .bind(inode.atime_ns)
        .bind(inode.ctime_ns)
        .execute(&mut *self.conn)
        .await?;
        Ok(())
    }

    pub(super) async fn set_meta(&mut self, set: &SetMeta) -> Result<pb::OperationResult, TreeError> {
        let mut inode = self.inode_or_refuse(set.inode).await?;
        let present = pb::OperationResult { inode: Some(inode.to_pb()), ..pb::OperationResult::default() };
        if inode.meta_version != set.expected_meta_version {
            return Err(TreeError::refused_with(ErrorCode::Retry, "the metadata was changed meanwhile", present));
        }
        if !set.sealed_meta.is_empty() {
            require_newest_of(&inode, set.key_epoch)?;
        }
        inode.sealed_meta = set.sealed_meta.clone();
        inode.meta_version += 1;
        inode.ctime_ns = self.stamp;
        sqlx::query(
            "UPDATE inode SET sealed_meta = $3, meta_version = $4, ctime_ns = $5 WHERE bucket = $1 AND id = $2",
        )
        .bind(self.bucket.id.to_vec())
        .bind(inode.id.to_vec())
        .bind(inode.sealed_meta.to_vec())
        .bind(sql::as_int(inode.meta_version))
        .bind(inode.ctime_ns)
        .execute(&mut *self.conn)
        .await?;
        self.record(of_inode(Kind::Attributes, &inode));
        Ok(pb::OperationResult { inode: Some(inode.to_pb()), ..pb::OperationResult::default() })
    }
}

/// A change that concerns an inode and none of its entries.
pub(super) fn of_inode(kind: Kind, inode: &InodeRow) -> pb::Change {
    pb::Change {
        kind: kind.into(),
        inode: bytes_of(inode.id),
        version: inode.version,
        size: inode.size,
        ..pb::Change::default()
    }
}
