//! Whom this node trusts to vouch for the server: the system's authorities, or those of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::config::ConfigError;
use super::error::Error;

/// TLS settings for connections to the server. For a plain one they trust nobody, and no authorities are read.
///
/// # Errors
/// [`ConfigError::Syntax`] for a file without certificates, [`Error::Task`] if the system names no authority.
pub(super) fn settings(tls: bool, ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let unusable = |error: rustls::Error| Error::Task(format!("cannot set up TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match ca_file {
        _ if !tls => builder.with_root_certificates(RootCertStore::empty()),
        Some(path) => builder.with_root_certificates(read(path)?),
        None => builder.with_platform_verifier().map_err(unusable)?,
    };
    Ok(builder.with_no_client_auth())
}

fn read(path: &Path) -> Result<RootCertStore, ConfigError> {
    let broken = |message: String| ConfigError::Syntax { path: path.to_owned(), message };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| broken(error.to_string()))? {
        let certificate = certificate.map_err(|error| broken(error.to_string()))?;
        roots.add(certificate).map_err(|error| broken(error.to_string()))?;
    }
    if roots.is_empty() { Err(broken("it has no certificate".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a server is believed that an authority vouches for which only the file names.
    async fn believes(ca: &str) -> bool {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().unwrap();
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = authority.clone().self_signed(&authority_key).unwrap().pem();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, if ca.is_empty() { pem } else { ca.to_owned() }).unwrap();

        let server = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.into()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let client = tokio_rustls::TlsConnector::from(Arc::new(settings(true, Some(&path)).unwrap()));
        let (here, there) = tokio::io::duplex(1 << 16);
        let accepting = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(there);
        tokio::join!(client.connect("localhost".try_into().unwrap(), here), accepting).0.is_ok()
    }

    #[tokio::test]
    async fn the_authorities_of_the_file_count_and_no_others() {
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        assert!(believes("").await);
        assert!(!believes(&other.cert.pem()).await);
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let error = settings(true, Some(&path)).unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
    }
}
