//! Why a connection failed, in words for people: libraries say it in layers, and TLS in the names of their own types.

use std::error::Error;
use std::io;

use rustls::CertificateError as Certificate;

/// What is said of a certificate that no trusted authority signed.
pub const UNTRUSTED: &str = "its certificate is of an authority that is not trusted here";

/// The innermost reason of an error, which the outer ones only repeat or hide. TLS is said in plain words.
#[must_use]
pub fn reason(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        if let Some(words) = tls_within(innermost) {
            return words;
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return innermost.to_string(),
        }
    }
}

/// An input/output error does not name what it carries as its source, but that one's source.
fn tls_within(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_reason(tls));
    }
    let carried = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_within(carried)
}

fn tls_reason(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    let words = match error {
        Tls::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => UNTRUSTED,
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired, unless this machine's clock is wrong"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet, unless this machine's clock is wrong"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another host name"
            }
            Certificate::Revoked => "its certificate was revoked",
            Certificate::ApplicationVerificationFailure => "its key is another one",
            _ => "its certificate is not valid",
        },
        Tls::InvalidMessage(_) => "it does not speak TLS",
        Tls::PeerIncompatible(_) => "it has no version or cipher of TLS in common with this program",
        Tls::AlertReceived(_) => "it refused the TLS handshake",
        other => return format!("TLS failed: {other}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Outer(#[source] io::Error);

    fn wrapped(error: rustls::Error) -> Outer {
        Outer(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    #[test]
    fn tls_is_said_in_words_however_deep_it_lies() {
        let certificate = |error| reason(&wrapped(rustls::Error::InvalidCertificate(error)));
        assert_eq!(certificate(Certificate::UnknownIssuer), UNTRUSTED);
        assert_eq!(certificate(Certificate::BadEncoding), "its certificate is not valid");
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(reason(&wrapped(plain)), "it does not speak TLS");
    }

    #[test]
    fn anything_else_is_said_by_the_innermost() {
        let refused = io::Error::from_raw_os_error(111);
        let said = refused.to_string();
        assert_eq!(reason(&Outer(refused)), said);
    }
}
