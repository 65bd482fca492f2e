//! The REST calls of a node: logging in, becoming a machine, signs of life.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cyx_core::auth::{self, StretchParams};
use cyx_core::enrol::{self, CHALLENGE_LEN};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{KeyId, MachineId, random_bytes};
use cyx_proto::connect_error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::config::Secret;
use super::error::Error;
use super::system::Hardware;
use super::trust;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// A client of the REST API.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    http: reqwest::Client,
}

/// An access token and the Unix second of its end.
#[derive(Clone)]
pub(crate) struct Token {
    /// The token.
    pub(crate) value: Secret,
    /// Its end.
    pub(crate) expires: u64,
}

/// What a machine is given when it registers.
pub(crate) struct Machine {
    /// Its id.
    pub(crate) id: MachineId,
    /// Its own key.
    pub(crate) api_key: Secret,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: String,
    message: String,
}

#[derive(Serialize)]
struct Prelogin<'a> {
    email: &'a str,
}

#[derive(Deserialize)]
struct PreloginAnswer {
    salt: String,
    params: StretchParams,
}

#[derive(Serialize)]
struct Login<'a> {
    email: &'a str,
    auth_key: &'a str,
    device_name: &'a str,
}

#[derive(Deserialize)]
struct LoginAnswer {
    session_id: String,
}

#[derive(Serialize)]
struct Verify<'a> {
    session_id: &'a str,
    otp: &'a str,
    session_public_key: &'a str,
}

#[derive(Deserialize)]
struct VerifyAnswer {
    access_token: Secret,
    access_expires_at: u64,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Secret,
    expires_at: u64,
}

#[derive(Serialize)]
struct Register<'a> {
    hostname: &'a str,
    os: &'a str,
    hardware: Hardware,
    attempt: &'a str,
}

#[derive(Deserialize)]
struct RegisterAnswer {
    machine_id: MachineId,
    api_key: Secret,
    access_token: Secret,
    expires_at: u64,
}

#[derive(Deserialize)]
struct ServerKeyAnswer {
    public_key: String,
    signature: String,
}

#[derive(Serialize)]
struct ApiKey<'a> {
    machine_id: MachineId,
    api_key: &'a str,
}

/// A machine's sign of life.
#[derive(Serialize)]
pub(crate) struct Life<'a> {
    /// Where clients reach the node.
    pub(crate) address: &'a str,
    /// Version of the program.
    pub(crate) version: &'a str,
    /// One-minute load average.
    pub(crate) load: f64,
}

/// A login that waits for its one-time code.
pub(crate) struct PendingLogin {
    session_id: String,
}

impl Api {
    /// For an API at this address.
    ///
    /// # Errors
    /// [`Error::Task`] if TLS cannot be set up.
    pub(crate) fn new(base: &str, ca_file: Option<&Path>) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust::settings(base.starts_with("https:"), ca_file)?)
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(crate::service::VERSION)
            .build()
            .map_err(|error| Error::Task(format!("cannot set up HTTP: {error}")))?;
        Ok(Self { base: base.to_owned(), http })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        bearer: Option<&Secret>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        if let Some(token) = bearer {
            request = request.bearer_auth(token.expose());
        }
        self.send(what, request).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Error> {
        let unreachable = |error: reqwest::Error| Error::Unreachable {
            at: self.base.clone(),
            reason: if error.is_timeout() {
                "no answer in time".to_owned()
            } else {
                connect_error::reason(&error.without_url())
            },
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Zeroizing::new(Vec::new());
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + part.len() > ANSWER_MAX {
                return Err(Error::Nonsense { what, reason: "it is too long".to_owned() });
            }
            answer.extend_from_slice(&part);
        }
        if !status.is_success() {
            return Err(refusal(what, status, &answer));
        }
        let body: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(body).map_err(|error| Error::Nonsense { what, reason: error.to_string() })
    }

    /// The first step of a login: email and password. The code comes by mail or from an authenticator.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn begin_login(
        &self,
        email: &str,
        password: &Secret,
        device: &str,
    ) -> Result<PendingLogin, Error> {
        let answer: PreloginAnswer = self.post("the login", "/api/auth/prelogin", None, &Prelogin { email }).await?;
        let salt = STANDARD.decode(&answer.salt).ok().and_then(|salt| salt.try_into().ok());
        let salt = salt.ok_or(Error::Nonsense { what: "the login", reason: "the salt is not a salt".to_owned() })?;
        let password = password.clone();
        let stretched = tokio::task::spawn_blocking(move || {
            let stretched = auth::stretch(password.expose().as_bytes(), &salt, answer.params)?;
            Ok::<_, auth::StretchError>(Zeroizing::new(auth::derive_auth_key(&stretched)))
        });
        let auth_key = stretched.await.map_err(|error| Error::Task(error.to_string()))??;
        let auth_key = Zeroizing::new(STANDARD.encode(&auth_key[..]));
        let login = Login { email, auth_key: &auth_key, device_name: device };
        let answer: LoginAnswer = self.post("the login", "/api/auth/login", None, &login).await?;
        Ok(PendingLogin { session_id: answer.session_id })
    }

    /// The second step: the one-time code. The session is only used to register this machine.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn finish_login(
        &self,
        login: &PendingLogin,
        otp: &str,
        session_key: [u8; 32],
    ) -> Result<Token, Error> {
        let session_public_key = STANDARD.encode(session_key);
        let verify = Verify { session_id: &login.session_id, otp, session_public_key: &session_public_key };
        let answer: VerifyAnswer = self.post("the one-time code", "/api/auth/login/verify", None, &verify).await?;
        Ok(Token { value: answer.access_token, expires: answer.access_expires_at })
    }

    /// Ends a login's session.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn logout(&self, token: &Token) -> Result<(), Error> {
        let body = serde_json::json!({});
        self.post::<serde_json::Value>("the logout", "/api/auth/logout", Some(&token.value), &body).await.map(drop)
    }

    /// Makes sure that the server is the one whose identity key has this fingerprint, before a secret is sent to it.
    ///
    /// # Errors
    /// [`Error::OtherServer`] if it is not; [`Error`].
    pub(crate) async fn recognise(&self, fingerprint: KeyId) -> Result<(), Error> {
        let challenge: [u8; CHALLENGE_LEN] = random_bytes();
        let url = format!("{}/api/machines/server-key?challenge={}", self.base, hex::encode(challenge));
        let other = || Error::OtherServer { at: self.base.clone() };
        let answer: ServerKeyAnswer = match self.send("who it is", self.http.get(url)).await {
            // Another program, or a server of a time before this question.
            Err(Error::Nonsense { .. } | Error::Refused { code: ErrorCode::NotFound, .. }) => return Err(other()),
            answer => answer?,
        };
        let public_key = STANDARD.decode(&answer.public_key).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
        let (Some(public_key), Ok(signature)) = (public_key, STANDARD.decode(&answer.signature)) else {
            return Err(other());
        };
        enrol::verify_identity(fingerprint, &public_key, &enrol::challenge_body(&challenge), &signature)
            .map_err(|_| other())
    }

    /// Makes this machine known, with an enrolment token or a person's access token. `attempt` is a secret that is the same when this is
    /// tried again because the answer was lost.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn register(
        &self,
        bearer: &Secret,
        hostname: &str,
        hardware: Hardware,
        attempt: &str,
    ) -> Result<(Machine, Token), Error> {
        let body = Register { hostname, os: std::env::consts::OS, hardware, attempt };
        let what = "the registration of this machine";
        let answer: RegisterAnswer = self.post(what, "/api/machines/register", Some(bearer), &body).await?;
        let token = Token { value: answer.access_token, expires: answer.expires_at };
        Ok((Machine { id: answer.machine_id, api_key: answer.api_key }, token))
    }

    /// A new access token for a machine.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn token(&self, machine: &Machine) -> Result<Token, Error> {
        let body = ApiKey { machine_id: machine.id, api_key: machine.api_key.expose() };
        let answer: TokenAnswer = self.post("this machine's key", "/api/machines/token", None, &body).await?;
        Ok(Token { value: answer.access_token, expires: answer.expires_at })
    }

    /// Says that the machine lives.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn heartbeat(&self, machine: MachineId, token: &Secret, life: &Life<'_>) -> Result<(), Error> {
        let path = format!("/api/machines/{machine}/heartbeat");
        self.post::<serde_json::Value>("a heartbeat", &path, Some(token), life).await.map(drop)
    }
}

fn refusal(what: &'static str, status: reqwest::StatusCode, answer: &[u8]) -> Error {
    let by_status = match status.as_u16() {
        401 => ErrorCode::InvalidCredentials,
        403 => ErrorCode::PermissionDenied,
        404 => ErrorCode::NotFound,
        429 => ErrorCode::RateLimited,
        400..=499 => ErrorCode::InvalidArgument,
        _ => ErrorCode::Unavailable,
    };
    match serde_json::from_slice::<ErrorBody>(answer) {
        Ok(ErrorBody { error }) => {
            let code = ErrorCode::parse(&error.code).unwrap_or(by_status);
            Error::Refused {
                what,
                code,
                message: error.message.chars().filter(|c| !c.is_control()).take(300).collect(),
            }
        }
        // Whoever stands before the server does not know who its machines are.
        Err(_) if status == reqwest::StatusCode::UNAUTHORIZED => Error::Refused {
            what,
            code: ErrorCode::Unavailable,
            message: format!("something before it answered {status}"),
        },
        Err(_) => Error::Refused { what, code: by_status, message: format!("it answered {status}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_the_servers_code_and_sentence() {
        let body = br#"{"error":{"code":"RATE_LIMITED","message":"too many\u0007","request_id":"x"}}"#;
        let Error::Refused { code, message, .. } = refusal("x", reqwest::StatusCode::FORBIDDEN, body) else { panic!() };
        assert_eq!((code, message.as_str()), (ErrorCode::RateLimited, "too many"));
        let Error::Refused { code, .. } = refusal("x", reqwest::StatusCode::BAD_GATEWAY, b"<html>") else { panic!() };
        assert_eq!(code, ErrorCode::Unavailable);
    }

    #[test]
    fn only_the_server_itself_can_say_that_it_does_not_know_who_calls() {
        let status = reqwest::StatusCode::UNAUTHORIZED;
        let body = br#"{"error":{"code":"INVALID_CREDENTIALS","message":"no","request_id":"x"}}"#;
        assert!(refusal("x", status, body).is_unknown_caller());
        for other in [&b"<html>"[..], b"", br#"{"error":{"message":"no"}}"#] {
            let error = refusal("x", status, other);
            assert!(!error.is_unknown_caller() && error.is_passing(), "{error}");
        }
    }
}
