//! Wrapped keys, sealed names and histories: foreign bytes never open.
#![no_main]

use cyx_core::ids::InodeId;
use cyx_core::inode::InodeKind;
use cyx_core::name::EncryptedName;
use cyx_crypto::keys::InodeKey;
use cyx_crypto::names;
use cyx_crypto::wrap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let key = InodeKey::make();
    let inode = InodeId([7; 16]);
    if let Ok(name) = EncryptedName::new(data.to_vec()) {
        assert!(names::decrypt_name(&key.derive_name_key(), inode, &name).is_err());
    }
    let Ok(name) = EncryptedName::new(vec![3; 32]) else { return };
    let edge = wrap::Edge { directory: inode, name: &name, child: InodeId([8; 16]), kind: InodeKind::File };
    assert!(wrap::open_child_key(&key, &edge, data).is_err());
    assert!(wrap::open_field(&key, inode, wrap::Field::LinkTarget, data).is_err());
    let _ = wrap::open_history(key, inode, data);
});
