//! Connections to the server: TLS with the operating system's authorities (or those of `ca_file`), plain on this machine.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cyx_proto::idle_restart::RestartAfterIdle;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::config::Gateway;
use crate::error::{Error, Result};

/// A connection must stand within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which something is waited for is asked for a sign of life this often,
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// and given up without one after this time: the way may be lost (another network, a machine that slept) while the server is there.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The TLS settings for a gateway. For a plain one they trust nobody, and the authorities are not even read.
///
/// # Errors
/// [`Error::Config`] for a `ca_file` without certificates, [`Error::Network`] if the operating system names no authority.
pub(crate) fn settings(gateway: &Gateway, ca_file: Option<&Path>) -> Result<ClientConfig> {
    let unusable = |reason: String| Error::Network { what: "cannot set up TLS".into(), reason };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = match ca_file {
        _ if !gateway.tls() => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_platform_verifier().map_err(|error| unusable(error.to_string()))?,
        Some(path) => builder.with_root_certificates(read_authorities(path)?),
    };
    Ok(builder.with_no_client_auth())
}

fn read_authorities(path: &Path) -> Result<RootCertStore> {
    let broken = |reason: String| Error::Config { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| broken(error.to_string()))? {
        let certificate = certificate.map_err(|error| broken(error.to_string()))?;
        roots.add(certificate).map_err(|error| broken(error.to_string()))?;
    }
    if roots.is_empty() { Err(broken("it has no certificate".into())) } else { Ok(roots) }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An HTTP/2 channel to a gateway that connects again after it broke. It need not be connected yet: who uses it is told why.
///
/// # Errors
/// [`Error::Gateway`] for a host that no certificate can name.
pub(crate) async fn channel(gateway: &Gateway, mut tls: ClientConfig) -> Result<Channel> {
    let unusable = || Error::Gateway { url: gateway.to_string(), reason: "its host name is not valid" };
    let name = ServerName::try_from(gateway.host().to_owned()).map_err(|_| unusable())?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = gateway.tls().then(|| TlsConnector::from(Arc::new(tls)));
    let address = (gateway.host().to_owned(), gateway.port());

    let connect = tower::service_fn(move |_| {
        let (address, name, connector) = (address.clone(), name.clone(), connector.clone());
        async move {
            let connecting = async {
                let stream = TcpStream::connect((address.0.as_str(), address.1)).await?;
                stream.set_nodelay(true)?;
                let stream = RestartAfterIdle::new(stream);
                let io: Pin<Box<dyn Io>> = match connector {
                    Some(connector) => Box::pin(connector.connect(name, stream).await?),
                    None => Box::pin(stream),
                };
                Ok::<_, io::Error>(TokioIo::new(io))
            };
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        }
    });
    let endpoint = Endpoint::from_shared(gateway.to_string())
        .map_err(|_| unusable())?
        .initial_connection_window_size(8 * 1024 * 1024)
        .initial_stream_window_size(4 * 1024 * 1024)
        .http2_keep_alive_interval(ALIVE_INTERVAL)
        .keep_alive_timeout(ALIVE_TIMEOUT);
    match endpoint.connect_with_connector(connect.clone()).await {
        Ok(channel) => Ok(channel),
        // The first call tries again, and has the patience and the words for what is wrong.
        Err(_) => Ok(endpoint.connect_with_connector_lazy(connect)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let gateway = "https://cloud.example.org".parse().unwrap();
        let error = settings(&gateway, Some(&path)).unwrap_err();
        assert!(matches!(&error, Error::Config { path: named, .. } if *named == path), "{error}");
    }

    #[test]
    fn a_plain_gateway_needs_no_authorities() {
        let gateway = "http://localhost:8080".parse().unwrap();
        settings(&gateway, Some(Path::new("/nowhere"))).unwrap();
    }
}
