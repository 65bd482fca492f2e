//! Every layout of this crate made a second time, as plainly as the documents describe it.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use aes_siv::siv::Aes256Siv;
use hkdf::Hkdf;
use sha2::Sha256;

/// `HKDF-SHA256(key, no salt, label)`.
pub(crate) fn derive<const N: usize>(key: &[u8; 32], label: &str) -> [u8; N] {
    let mut derived = [0; N];
    Hkdf::<Sha256>::new(None, key).expand(label.as_bytes(), &mut derived).unwrap();
    derived
}

/// `ciphertext | tag`.
pub(crate) fn gcm(key: &[u8; 32], nonce: &[u8; 12], associated: &[u8], plain: &[u8]) -> Vec<u8> {
    Aes256Gcm::new(key.into()).encrypt(nonce.into(), Payload { msg: plain, aad: associated }).unwrap()
}

/// `"cyxW" 1 | purpose | epoch | nonce | ciphertext | tag`.
pub(crate) fn sealed_box(purpose: u8, epoch: u32, key: &[u8; 32], context: &[u8], plain: &[u8]) -> Vec<u8> {
    let header = [&b"cyxW\x01"[..], &[purpose], &epoch.to_le_bytes()].concat();
    let nonce = [0x5a; 12];
    let sealed = gcm(key, &nonce, &[&header, context].concat(), plain);
    [header, nonce.to_vec(), sealed].concat()
}

/// `epoch | key`.
pub(crate) fn key_plain(epoch: u32, key: &[u8; 32]) -> Vec<u8> {
    [&epoch.to_le_bytes()[..], key].concat()
}

/// An encrypted name, padded by the caller.
pub(crate) fn siv(key: &[u8; 64], associated: &[&[u8]], padded: &[u8]) -> Vec<u8> {
    Aes256Siv::new(key.into()).encrypt(associated, padded).unwrap()
}

/// All frames of a blob.
pub(crate) fn frames(key: &[u8; 32], blob: &[u8; 16], frame_plain: usize, plain: &[u8]) -> Vec<u8> {
    let count = plain.chunks(frame_plain).len();
    plain
        .chunks(frame_plain)
        .enumerate()
        .flat_map(|(index, frame)| {
            let counter = (index as u64).to_le_bytes();
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&counter);
            let associated = [&[1_u8][..], blob, &counter, &[u8::from(index + 1 == count)]].concat();
            gcm(key, &nonce, &associated, frame)
        })
        .collect()
}
