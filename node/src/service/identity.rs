//! Who a node is: an Ed25519 key in `node.key`, from which its id, its signatures and its TLS certificate come.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use cyx_core::ids::{NodeId, random_bytes};
use ed25519_dalek::SigningKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use zeroize::Zeroizing;

/// Name of the key file in the data directory: 32 bytes, readable by its owner alone.
pub const KEY_FILE: &str = "node.key";
/// The name in a node's certificate. Clients check the key, not the name.
pub const TLS_NAME: &str = "cyx-node";
/// What stands before the 32 bytes of an Ed25519 key in its PKCS #8 form (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Why a node has no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The key file cannot be read or made.
    #[error("cannot read or make {KEY_FILE}: {0}")]
    File(#[from] io::Error),
    /// The key file is not a key.
    #[error("{KEY_FILE} is not a key: it has to have 32 bytes")]
    NotAKey,
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate cannot be used.
    #[error("cannot use the node's certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// A node's key.
pub struct Identity {
    key: SigningKey,
    id: NodeId,
}

impl Identity {
    /// Whether a data directory has a key.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(KEY_FILE).exists()
    }

    /// Reads the key of a data directory, or makes one.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join(KEY_FILE);
        match std::fs::File::open(&path) {
            Ok(file) => {
                keep_private(&file);
                let mut bytes = Zeroizing::new(Vec::with_capacity(64));
                file.take(33).read_to_end(&mut bytes)?;
                let seed = Zeroizing::new(<[u8; 32]>::try_from(&bytes[..]).map_err(|_| IdentityError::NotAKey)?);
                Ok(Self::from_seed(&seed))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = Zeroizing::new(random_bytes::<32>());
                // Written beside and renamed, so that a crash never leaves half a key.
                let fresh = directory.join(".node.key.new");
                let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
                file.write_all(&*seed)?;
                file.sync_all()?;
                std::fs::rename(&fresh, &path)?;
                std::fs::File::open(directory)?.sync_all()?;
                Ok(Self::from_seed(&seed))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The identity of a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let id = NodeId::from_public_key(&key.verifying_key().to_bytes());
        Self { key, id }
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The public half of the key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The private half, to sign with.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// TLS with a self-signed certificate of the node's own key, HTTP/2 only.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn tls_config(&self) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let mut pkcs8 = Zeroizing::new(Vec::with_capacity(48));
        pkcs8.extend_from_slice(&PKCS8_PREFIX);
        pkcs8.extend_from_slice(self.key.as_bytes());
        let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519)?;
        let mut params = rcgen::CertificateParams::new([TLS_NAME.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, self.id.to_string());
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(4096, 1, 1);
        let certificate: CertificateDer<'static> = params.self_signed(&pair)?.into();
        let key = PrivateKeyDer::Pkcs8(der.clone_key());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Takes the key away from others who can read it, as after a copy. A filesystem without modes says no, and the node runs all the same.
fn keep_private(file: &std::fs::File) {
    let exposed = file.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0);
    if exposed && let Err(error) = file.set_permissions(std::fs::Permissions::from_mode(0o600)) {
        tracing::warn!(%error, "others on this machine can read {KEY_FILE}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path()).unwrap();
        let second = Identity::open(folder.path()).unwrap();
        assert_eq!(first.id(), second.id());
        assert_eq!(first.id(), NodeId::from_public_key(&first.public_key()));
        let path = folder.path().join(KEY_FILE);
        let mode = || path.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Identity::open(folder.path()).unwrap().id(), first.id());
        assert_eq!(mode(), 0o600, "of a key that others could read");
    }

    #[test]
    fn a_file_of_another_length_is_not_taken_for_a_key() {
        let folder = tempfile::tempdir().unwrap();
        for len in [0, 31, 33] {
            std::fs::write(folder.path().join(KEY_FILE), vec![1; len]).unwrap();
            assert!(matches!(Identity::open(folder.path()), Err(IdentityError::NotAKey)), "{len} bytes");
        }
    }

    #[test]
    fn the_certificate_carries_the_nodes_own_key() {
        let identity = Identity::from_seed(&[7; 32]);
        assert!(identity.tls_config().is_ok());
    }
}
