//! Mounts' journals: files and records of foreign bytes.
#![no_main]

use cyx_crypto::keys::AccountKey;
use cyx_crypto::mount::RecordCipher;
use cyx_crypto::mount::format::{self, Record};
use cyx_crypto::mount::salvage::salvage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The account of the golden vectors.
    let key = AccountKey::from_bytes([0x61; 32]).derive_mount_key();
    if let Ok(salvaged) = salvage(data, |id| RecordCipher::new(&key, id)) {
        let cipher = RecordCipher::new(&key, &salvaged.file);
        let mut at = 0;
        for found in &salvaged.records {
            assert!(at <= found.at);
            // What is believed is written the same, so it has one encoding.
            let again = format::seal(&cipher, found.sequence, &found.record).expect("what was read can be written");
            assert_eq!(data[found.at..found.at + found.len], again);
            at = found.at + found.len;
        }
        assert!(at + salvaged.torn <= data.len());
        assert!(salvaged.damaged.iter().all(|damaged| damaged.end <= data.len()));
    }
    if let Ok(record) = Record::decode(data) {
        let cipher = RecordCipher::new(&key, &[1; 16]);
        if let Some(sealed) = format::seal(&cipher, 1, &record) {
            let plain = format::open(&cipher, 1, sealed).expect("what was sealed opens");
            assert_eq!(&*plain, data);
        }
    }
});
