//! How a node becomes a machine that the server knows: saved credentials, enrolment token, environment, or a terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use cyx_core::enrol::EnrolmentToken;
use cyx_core::ids::{KeyId, random_bytes};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::api::{Api, Machine, Token};
use super::config::{Config, Secret};
use super::error::Error;
use super::{credentials, system};
use crate::service::identity::Identity;

/// The machine this is: the saved one, or a new one with its first token.
///
/// # Errors
/// [`Error`].
pub(crate) async fn machine(api: &Api, config: &Config) -> Result<(Machine, Option<Token>), Error> {
    match credentials::load(&config.home, &config.api_url)? {
        Some(machine) => Ok((machine, None)),
        None => enrol(api, config).await.map(|(machine, token)| (machine, Some(token))),
    }
}

/// Registers this machine anew and saves its credentials.
///
/// # Errors
/// [`Error`].
pub(crate) async fn enrol(api: &Api, config: &Config) -> Result<(Machine, Token), Error> {
    let hostname = system::hostname();
    let hardware = system::hardware(&config.storage_path);
    let identity = Identity::open(&config.storage_path)?;
    let (machine, token) = match &config.enroll_token {
        Some(token) => {
            // A token that works once is only shown to the server that it is from.
            if let Some(fingerprint) = fingerprint(token) {
                api.recognise(fingerprint).await?;
            }
            // The same for this node and this token, also after a restart: what was enrolled without an answer is then enrolled once.
            let attempt = attempt(&identity, token.expose());
            api.register(token, &hostname, hardware, &attempt).await?
        }
        None => {
            let session = login(api, config, &hostname).await?;
            let attempt = attempt(&identity, session.value.expose());
            let machine = api.register(&session.value, &hostname, hardware, &attempt).await;
            // The machine has a key of its own; the person's session has done its work, and a leftover one only ends later.
            if let Err(error) = api.logout(&session).await {
                tracing::debug!(%error, "the session of the enrolment was not ended");
            }
            machine?
        }
    };
    credentials::save(&config.home, &config.api_url, &machine)?;
    tracing::info!(machine = %machine.id, "this machine is enrolled");
    Ok((machine, token))
}

/// A secret that nobody but this node can tell, for what it uses to become known.
fn attempt(identity: &Identity, bearer: &str) -> Zeroizing<String> {
    let mut hasher = blake3::Hasher::new_derive_key("cyx node: attempt to enrol");
    hasher.update(identity.signing_key().as_bytes()).update(bearer.as_bytes());
    Zeroizing::new(hasher.finalize().to_hex().to_string())
}

/// The fingerprint of the server that a token is from. Tokens that a server was configured with have none.
pub(crate) fn fingerprint(token: &Secret) -> Option<KeyId> {
    token.expose().parse().ok().map(|token: EnrolmentToken| token.fingerprint())
}

async fn login(api: &Api, config: &Config, hostname: &str) -> Result<Token, Error> {
    let terminal = on_a_terminal();
    let email = match &config.email {
        Some(email) => email.clone(),
        None if terminal => ask("Email of the operator's account".to_owned()).await?,
        None => return Err(Error::NotEnrolled),
    };
    let password = match &config.password {
        Some(password) => password.clone(),
        None if terminal => ask_hidden("Password").await?,
        None => return Err(Error::NotEnrolled),
    };
    let pending = api.begin_login(&email, &password, &format!("cyx-node on {hostname}")).await?;
    let otp = match &config.otp {
        Some(otp) => otp.clone(),
        None if terminal => ask("One-time code".to_owned()).await?.into(),
        None => return Err(Error::NoCode),
    };
    // A session needs a key; this one is never used to open anything.
    let session_key = SigningKey::from_bytes(&random_bytes()).verifying_key().to_bytes();
    api.finish_login(&pending, otp.expose().trim(), session_key).await
}

fn failed(source: std::io::Error) -> Error {
    Error::File { doing: "read from", path: "the terminal".to_owned(), source }
}

/// Whether somebody can be asked.
pub(super) fn on_a_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

pub(super) async fn ask(question: String) -> Result<String, Error> {
    let read = move || {
        let mut out = std::io::stderr().lock();
        write!(out, "{question}: ")?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| Error::Task(error.to_string()))?.map_err(failed)
}

async fn ask_hidden(question: &'static str) -> Result<Secret, Error> {
    let read = move || rpassword::prompt_password(format!("{question}: "));
    let answer = tokio::task::spawn_blocking(read).await.map_err(|error| Error::Task(error.to_string()))?;
    answer.map(Secret::from).map_err(failed)
}
