//! Mail through a mail server.

use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::{MailError, MailTransport};
use crate::config::{ConfigError, SmtpConfig, SmtpSecurity};

/// How long the mail server may take for a step.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Smtp(AsyncSmtpTransport<Tokio1Executor>);

impl Smtp {
    pub(super) fn new(config: &SmtpConfig) -> Result<Self, ConfigError> {
        let builder = match config.security {
            SmtpSecurity::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(&config.host),
            SmtpSecurity::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&config.host),
            SmtpSecurity::Plain => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)),
        };
        let mut builder = builder
            .map_err(|error| ConfigError::Value(format!("--smtp-host: {error}")))?
            .port(config.port)
            .timeout(Some(TIMEOUT));
        if let Some((user, password)) = &config.credentials {
            let password = String::from_utf8_lossy(password.expose()).into_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self(builder.build()))
    }
}

impl MailTransport for Smtp {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), MailError>> {
        Box::pin(async move {
            // `send` consumes its message.
            self.0.send(message.clone()).await.map(drop).map_err(|error| MailError(error.to_string()))
        })
    }
}
