//! TLS of the listeners.

use super::*;
use crate::config::TlsFiles;

#[tokio::test]
async fn both_protocols_are_served_over_tls_and_plain_text_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let server = TestServer::with(|config| config.tls = Some(files)).await;

    let authority = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let address = server.running.http;
    let builder = || {
        let builder = reqwest::Client::builder().tls_certs_only([authority.clone()]);
        builder.resolve("localhost", address)
    };
    let url = format!("https://localhost:{}/version", address.port());
    for (client, version) in [
        (builder().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
        (builder().build().unwrap(), reqwest::Version::HTTP_2),
    ] {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
        assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
    }
    assert!(reqwest::get(format!("http://{address}/version")).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_does_not_exist_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles { cert: folder.path().join("none.pem"), key: folder.path().join("none.pem") };
    let Err(error) = crate::http::tls::load(&files) else { panic!("loaded") };
    assert!(error.to_string().contains("none.pem"), "{error}");
}
