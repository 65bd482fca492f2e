//! Mounts' journals: files and records of foreign bytes.
#![no_main]

use cyx_crypto::keys::AccountKey;
use cyx_crypto::mount::RecordCipher;
use cyx_crypto::mount::format::{self, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The account of the golden vectors.
    let key = AccountKey::from_bytes([0x61; 32]).derive_mount_key();
    if let Ok(parsed) = format::parse(data, |id| RecordCipher::new(&key, id)) {
        let cipher = RecordCipher::new(&key, &parsed.file);
        let mut again = format::file_header(&parsed.file, parsed.first);
        for (sequence, (record, at, len)) in (parsed.first..).zip(&parsed.records) {
            assert_eq!(again.len(), *at);
            again.extend(format::seal(&cipher, sequence, record).expect("what was read can be written"));
            assert_eq!(again.len(), at + len);
        }
        // What is believed is written the same, so it has one encoding.
        assert_eq!(again.len() + parsed.rest, data.len());
        assert_eq!(data[..again.len()], again);
    }
    if let Ok(record) = Record::decode(data) {
        let cipher = RecordCipher::new(&key, &[1; 16]);
        if let Some(sealed) = format::seal(&cipher, 1, &record) {
            let plain = format::open(&cipher, 1, &sealed).expect("what was sealed opens");
            assert_eq!(plain.as_slice(), data);
        }
    }
});
