//! REST calls to one gateway, and to no other: redirects are not followed.

use std::time::Duration;

use cyx_core::error::ErrorCode;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::backoff::Backoff;
use crate::config::Gateway;
use crate::error::{Error, IntegrityError, Result};
use crate::request_id;

/// Every answer of the identity part is far smaller.
const ANSWER_MAX: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(60);
/// For answers without a bound.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 4;

/// A REST client of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    http: Client,
    gateway: Gateway,
}

/// An answer and when the server says it gave it.
pub(crate) struct Answer<T> {
    pub(crate) body: T,
    /// Unix seconds by the server's clock, if it said so.
    pub(crate) server_time: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetails,
}

#[derive(Deserialize)]
struct ErrorDetails {
    code: String,
    message: String,
    #[serde(default)]
    request_id: Option<String>,
}

/// An empty JSON answer, whatever else it may say.
#[derive(Deserialize)]
pub(crate) struct Ignored {}

impl Rest {
    /// A client with the given TLS settings.
    ///
    /// # Errors
    /// [`Error::Network`] if the settings cannot be used.
    pub(crate) fn new(gateway: Gateway, tls: rustls::ClientConfig) -> Result<Self> {
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy_for_loopback(&gateway)
            .user_agent(concat!("cyx/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Network { what: "cannot set up HTTP".into(), reason: reason(&error) })?;
        Ok(Self { http, gateway })
    }

    /// The gateway.
    #[must_use]
    pub(crate) const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) async fn put<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        bearer: Option<&str>,
        body: &Q,
    ) -> Result<T> {
        self.call(Method::PUT, path, bearer, Some(body), Repeat::Always).await.map(|answer| answer.body)
    }

    /// A POST that is repeated only if it certainly did not arrive.
    pub(crate) async fn post<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        bearer: Option<&str>,
        body: &Q,
    ) -> Result<Answer<T>> {
        self.call(Method::POST, path, bearer, Some(body), Repeat::IfNotSent).await
    }

    /// A POST that does no harm when it arrives twice.
    pub(crate) async fn post_again<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Q,
    ) -> Result<Answer<T>> {
        self.call(Method::POST, path, None, Some(body), Repeat::Always).await
    }

    /// Any call; everybody else's calls are short forms of it.
    pub(crate) async fn call<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<&Q>,
        repeat: Repeat,
    ) -> Result<Answer<T>> {
        let mut backoff = Backoff::new(ATTEMPTS);
        loop {
            let mut request = self.http.request(method.clone(), self.gateway.join(path));
            request = request.header(cyx_proto::status::REQUEST_ID_KEY, request_id::new());
            if let Some(bearer) = bearer {
                request = request.bearer_auth(bearer);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let (error, may_repeat) = match self.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::NotSent(error)) => (error, true),
                Err(Failure::NoAnswer(error)) => (error, repeat == Repeat::Always),
                Err(Failure::Answered(error)) => {
                    let transient = error.is_transient();
                    (error, transient && repeat == Repeat::Always)
                }
            };
            if !may_repeat || !backoff.wait().await {
                return Err(error);
            }
            tracing::debug!(%error, path, "repeating a call");
        }
    }

    /// A GET whose answer may be of any length: what succeeds is handed over as it arrives.
    pub(crate) async fn download(&self, path: &str, bearer: &str) -> Result<Response> {
        let network = |error: &reqwest::Error| Error::Network {
            what: format!("cannot reach {}", self.gateway),
            reason: reason(error),
        };
        let request = self.http.get(self.gateway.join(path)).bearer_auth(bearer).timeout(DOWNLOAD_TIMEOUT);
        let request = request.header(cyx_proto::status::REQUEST_ID_KEY, request_id::new());
        let response = request.send().await.map_err(|error| network(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, pause) = (response.status(), pause(&response));
        let body = read(response).await.map_err(|error| network(&error))?.unwrap_or_default();
        Err(self.refusal(status, pause, &body))
    }

    /// The next part of an answer of [`Self::download`].
    pub(crate) async fn part(&self, response: &mut Response) -> Result<Option<bytes::Bytes>> {
        let what = || format!("the answer of {} broke off", self.gateway);
        response.chunk().await.map_err(|error| Error::Network { what: what(), reason: reason(&error) })
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Answer<T>, Failure> {
        let network = |error: &reqwest::Error| Error::Network {
            what: format!("cannot reach {}", self.gateway),
            reason: reason(error),
        };
        let response = request.send().await.map_err(|error| {
            let not_sent = error.is_connect() || error.is_builder();
            let error = network(&error);
            if not_sent { Failure::NotSent(error) } else { Failure::NoAnswer(error) }
        })?;
        let (status, pause) = (response.status(), pause(&response));
        let server_time = date(&response);
        let body = read(response).await.map_err(|error| Failure::NoAnswer(network(&error)))?;
        let Some(body) = body else {
            return Err(Failure::Answered(IntegrityError::Mismatch("its answer is far too large").into()));
        };
        if !status.is_success() {
            return Err(Failure::Answered(self.refusal(status, pause, &body)));
        }
        let bytes: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let body = serde_json::from_slice(bytes).map_err(|_| {
            let what = format!("{} is not a cyx server", self.gateway);
            Failure::Answered(Error::Network { what, reason: "its answer cannot be understood".into() })
        })?;
        Ok(Answer { body, server_time })
    }

    fn refusal(&self, status: reqwest::StatusCode, pause: Option<Duration>, body: &[u8]) -> Error {
        if let Ok(ErrorBody { error }) = serde_json::from_slice::<ErrorBody>(body)
            && let Some(code) = ErrorCode::parse(&error.code)
        {
            return Error::refused(code, &error.message, error.request_id, pause);
        }
        let what = format!("{} cannot serve", self.gateway);
        Error::Network { what, reason: format!("HTTP status {}", status.as_u16()) }
    }
}

/// When a call is repeated after a failure of the network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does no harm when it arrives twice.
    Always,
    /// It must certainly not have arrived.
    IfNotSent,
}

enum Failure {
    NotSent(Error),
    NoAnswer(Error),
    Answered(Error),
}

trait Direct {
    fn no_proxy_for_loopback(self, gateway: &Gateway) -> Self;
}

impl Direct for reqwest::ClientBuilder {
    /// A proxy could not reach this machine, and would see credentials in plain text.
    fn no_proxy_for_loopback(self, gateway: &Gateway) -> Self {
        if gateway.tls() { self } else { self.no_proxy() }
    }
}

/// Reads a body of bounded length; `None` if it is longer. Bodies may have tokens, so they are zeroised.
async fn read(mut response: Response) -> Result<Option<Zeroizing<Vec<u8>>>, reqwest::Error> {
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > ANSWER_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

/// How long to wait, as the server says.
fn pause(response: &Response) -> Option<Duration> {
    let text = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

fn date(response: &Response) -> Option<u64> {
    let text = response.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    http_date(text)
}

/// Unix seconds of an HTTP date, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7; servers send no other form).
fn http_date(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = parts.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    if parts.next() != Some("GMT") || hour > 23 || minute > 59 || second > 60 || day > 31 {
        return None;
    }
    // Days since 1970 by counting years from March, so that the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    days.checked_sub(719_468).map(|days| days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The innermost reason of an error: the outer ones repeat the address.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".into() } else { cyx_proto::connect_error::reason(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Sat, 29 Feb 2020 23:59:59 GMT"), Some(1_583_020_799));
        for wrong in [
            "",
            "Sun, 06 Nov 1994",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1900 08:49:37 GMT",
        ] {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
    }
}
