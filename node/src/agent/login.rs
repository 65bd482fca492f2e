//! How a node becomes a machine that the server knows: saved credentials, enrolment token, environment, or a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use cyx_core::enrol::EnrolmentToken;
use cyx_core::ids::{KeyId, random_bytes};
use ed25519_dalek::SigningKey;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcsetattr,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::api::{Api, Machine, Token};
use super::config::{Config, Secret};
use super::error::Error;
use super::{credentials, system};
use crate::service::identity::Identity;

/// Longest answer in bytes, as long as a terminal's lines.
const ANSWER_MAX: usize = 4096;
/// How often it is looked whether something was typed.
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
    let mut hidden = Hidden::new().map_err(failed)?;
    let answer = answer(question).await;
    hidden.is_answered = answer.is_ok();
    answer.map_err(failed)
}

/// A line from the terminal without its end. Nothing is waited for outside of this runtime, so that it can be dropped at any time, as it is
/// when the node ends.
async fn answer(question: &str) -> std::io::Result<Secret> {
    std::io::stderr().write_all(format!("{question}: ").as_bytes())?;
    let mut line = Zeroizing::new(Vec::with_capacity(ANSWER_MAX));
    // No more than that at a time: what is typed ahead is for the next question, or for the shell.
    let mut byte = Zeroizing::new([0_u8]);
    while line.last() != Some(&b'\n') {
        if line.len() == ANSWER_MAX {
            return Err(std::io::Error::other("the line is too long"));
        }
        // Before each read: Ctrl-D hands over half a line, too.
        while !can_read()? {
            tokio::time::sleep(LOOK).await;
        }
        match rustix::io::read(std::io::stdin(), &mut *byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    String::from_utf8(std::mem::take(&mut *line)).map(Secret::from).map_err(|error| {
        error.into_bytes().zeroize();
        std::io::Error::new(std::io::ErrorKind::InvalidData, "what was typed is not UTF-8")
    })
}

/// Whether something can be read at once.
fn can_read() -> std::io::Result<bool> {
    match poll(&mut [PollFd::new(&std::io::stdin(), PollFlags::IN)], Some(&Timespec::default())) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// While this is there the terminal does not show what is typed.
struct Hidden {
    before: Termios,
    is_answered: bool,
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
        Ok(Self { before, is_answered: false })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.is_answered {
            // Half a password would become the next thing that the shell reads, and shows.
            let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
        }
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
