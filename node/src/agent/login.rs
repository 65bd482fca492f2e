//! How a node becomes a machine that the server knows: saved credentials, enrolment token, environment, or a terminal.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use cyx_core::enrol::EnrolmentToken;
use cyx_core::ids::{KeyId, random_bytes};
use ed25519_dalek::SigningKey;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::api::{Api, Machine, Token};
use super::config::{Config, Secret};
use super::error::Error;
use super::{credentials, system};
use crate::service::identity::Identity;

/// Longest answer in bytes, as long as a terminal's lines.
const ANSWER_MAX: usize = 4096;
/// How often it is looked whether a line was typed.
const LOOK: Duration = Duration::from_millis(100);

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

/// Asks for something that may be seen.
pub(super) async fn ask(question: String) -> Result<String, Error> {
    answer(&question).await.map(|answer| answer.expose().trim().to_owned()).map_err(failed)
}

async fn ask_hidden(question: &'static str) -> Result<Secret, Error> {
    let _hidden = Hidden::new().map_err(failed)?;
    answer(question).await.map_err(failed)
}

/// A line from the terminal without its end. The terminal keeps it until it is complete; until then this can be dropped, as it is when the
/// node ends.
async fn answer(question: &str) -> std::io::Result<Secret> {
    std::io::stderr().write_all(format!("{question}: ").as_bytes())?;
    let stdin = std::io::stdin();
    while poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&Timespec::default()))? == 0 {
        tokio::time::sleep(LOOK).await;
    }
    let mut answer = Zeroizing::new(String::with_capacity(ANSWER_MAX));
    stdin.lock().take(ANSWER_MAX as u64).read_line(&mut answer)?;
    Ok(Secret::from(answer.trim_end_matches(['\r', '\n']).to_owned()))
}

/// While this is there the terminal does not show what is typed.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn new() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        hidden.local_modes |= LocalModes::ECHONL;
        // The keys of signals that end or stop a process without its doing: zero is no key.
        hidden.special_codes[SpecialCodeIndex::VSUSP] = 0;
        hidden.special_codes[SpecialCodeIndex::VQUIT] = 0;
        tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // What was typed of it goes too, or the shell would read it, and show it.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }
}
