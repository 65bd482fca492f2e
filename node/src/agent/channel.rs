//! The connection to the server's port for nodes: TLS, or plain for `http://`.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::error::Error;
use super::trust;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Host and port of a base address.
pub(super) fn host_and_port(base: &str) -> Option<(String, u16, bool)> {
    let uri: http::Uri = base.parse().ok()?;
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, uri.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls))
}

/// A channel that connects when it is used and again after it broke.
///
/// # Errors
/// [`Error::Unreachable`] for an address that cannot be one; those of [`trust::settings`].
pub(super) fn open(base: &str, ca_file: Option<&Path>) -> Result<Channel, Error> {
    let unusable = |reason: String| Error::Unreachable { at: base.to_owned(), reason };
    let (host, port, tls) = host_and_port(base).ok_or_else(|| unusable("it is not an address".to_owned()))?;
    let connector = if tls {
        let mut config = trust::settings(true, ca_file)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(host.clone()).map_err(|error| unusable(error.to_string()))?;
        Some((TlsConnector::from(Arc::new(config)), name))
    } else {
        None
    };
    let connect = tower::service_fn(move |_| {
        let (host, connector) = (host.clone(), connector.clone());
        async move {
            let connecting = async {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                let io: Pin<Box<dyn Io>> = match connector {
                    Some((connector, name)) => Box::pin(connector.connect(name, stream).await?),
                    None => Box::pin(stream),
                };
                Ok::<_, io::Error>(TokioIo::new(io))
            };
            let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time"));
            tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(late)
        }
    });
    let endpoint = Endpoint::from_shared(base.to_owned())
        .map_err(|error| unusable(error.to_string()))?
        .timeout(CALL_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    Ok(endpoint.connect_with_connector_lazy(connect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(host_and_port("http://localhost:50052"), Some(("localhost".to_owned(), 50052, false)));
        assert_eq!(host_and_port("https://[::1]"), Some(("::1".to_owned(), 443, true)));
        assert_eq!(host_and_port("/path"), None);
    }
}
