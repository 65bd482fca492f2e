//! Where a client finds its server and keeps its files.
//!
//! Flags win over environment variables, these over `config.toml` in the home folder, that over defaults.
//!
//! | flag | variable | key in `config.toml` | default |
//! |---|---|---|---|
//! | – | `CYXCLOUD_HOME` | – | `~/.cyxcloud` |
//! | `--gateway` | `CYXCLOUD_GATEWAY` | `gateway` | the gateway logged in to, else `http://localhost:8080` |
//! | `--email` | `CYXCLOUD_EMAIL` | `email` | – |
//! | `--ca-file` | `CYXCLOUD_CA_FILE` | `ca_file` | the authorities that the operating system trusts |
//! | – | `CYXCLOUD_TOKEN` | – | the login of this machine |
//!
//! The token of an API key takes the place of a login; it is never in a file of this program's own, and never a flag, because
//! others on the machine see what is typed.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cyx_core::error::ErrorCode;
use cyx_crypto::apikey::{ApiToken, InvalidToken};
use reqwest::Url;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The gateway of a program that was told no other.
pub const DEFAULT_GATEWAY: &str = "http://localhost:8080";

/// The address of a server: `https`, or `http` on this machine. There is no way to name another, so credentials cannot go
/// over an open network by mistake.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Gateway {
    url: Url,
}

impl Gateway {
    /// The address without a slash at its end; two spellings of one address are equal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The address of a resource below it; `path` begins with a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.as_str())
    }

    /// Connections are encrypted.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }
}

impl FromStr for Gateway {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // What stands before the host may be a password.
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let refuse = |reason| Err(Error::Gateway { url: shown.to_owned(), reason });
        let Ok(mut url) = Url::parse(text) else { return refuse("it is not an address like https://host:port") };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("an address cannot contain a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() || !url.path().trim_matches('/').is_empty() {
            return refuse("an address ends after the port");
        }
        let Some(host) = url.host_str() else { return refuse("it names no host") };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => return refuse("plain HTTP is only for servers on this machine"),
            _ => return refuse("it is not an address like https://host:port"),
        }
        url.set_path("");
        Ok(Self { url })
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The token of an API key; shown as its id alone.
#[derive(Clone)]
pub struct Token(pub ApiToken);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.id())
    }
}

/// What flags say; everything is optional.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--gateway`.
    pub gateway: Option<String>,
    /// `--email`.
    pub email: Option<String>,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of settings, credentials and memory.
    pub home: PathBuf,
    /// The gateway that was named; absent: the one logged in to.
    pub gateway: Option<Gateway>,
    /// The email address that was named.
    pub email: Option<String>,
    /// PEM file of the certificate authorities to trust instead of the operating system's.
    pub ca_file: Option<PathBuf>,
    /// The API key that takes the place of a login.
    pub token: Option<Token>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    gateway: Option<String>,
    email: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads the environment and the file of the home folder.
    ///
    /// # Errors
    /// [`Error::Config`] for a file that cannot be understood, [`Error::Gateway`] for a gateway that cannot be used,
    /// [`Error::Local`] for a file that cannot be read.
    pub fn load(overrides: Overrides) -> Result<Self> {
        Self::load_from(overrides, &|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// As [`Self::load`], with the environment given: for tests and for programs that embed a client.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_from(overrides: Overrides, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let home = match (variable("CYXCLOUD_HOME"), variable("HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(home)) => Path::new(&home).join(".cyxcloud"),
            (None, None) => return Err(Error::invalid("there is no home folder: set CYXCLOUD_HOME")),
        };
        let file = read_file(&home.join("config.toml"))?;
        let text = |name| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(Error::invalid(format!("the variable {name} is not UTF-8"))),
        };
        let gateway = overrides.gateway.or(text("CYXCLOUD_GATEWAY")?).or(file.gateway);
        let token = text("CYXCLOUD_TOKEN")?.map(Zeroizing::new).map(|text| ApiToken::parse(&text)).transpose();
        let token = token.map_err(|InvalidToken| Error::Invalid {
            code: ErrorCode::InvalidArgument,
            message: "the variable CYXCLOUD_TOKEN is not the token of an API key".into(),
            advice: Some("`cyx apikey create` shows one, of the form id.auth.secret.".into()),
        })?;
        Ok(Self {
            home,
            gateway: gateway.map(|text| text.parse()).transpose()?,
            email: overrides.email.or(text("CYXCLOUD_EMAIL")?).or(file.email),
            ca_file: overrides.ca_file.or_else(|| variable("CYXCLOUD_CA_FILE").map(Into::into)).or(file.ca_file),
            token: token.map(Token),
        })
    }

    /// The gateway for somebody who is not logged in.
    ///
    /// # Errors
    /// [`Error::Gateway`], never for the default.
    pub fn gateway_or_default(&self) -> Result<Gateway> {
        self.gateway.clone().map_or_else(|| DEFAULT_GATEWAY.parse(), Ok)
    }
}

fn read_file(path: &Path) -> Result<ConfigFile> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Error::Config { path: path.to_owned(), reason: error.message().to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ConfigFile::default()),
        Err(error) => Err(Error::local(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(text: &str) -> Result<String> {
        text.parse::<Gateway>().map(|gateway| gateway.to_string())
    }

    #[test]
    fn plain_http_is_only_for_this_machine() {
        for good in ["http://localhost:8080", "http://127.0.0.1:1", "http://[::1]:9", "https://cloud.example.org"] {
            assert_eq!(gateway(good).unwrap(), good);
        }
        for bad in [
            "http://cloud.example.org",
            "http://192.168.1.1:8080",
            "ftp://localhost",
            "localhost:8080",
            "",
            "https://user:secret@cloud.example.org",
            "https://cloud.example.org/path",
            "https://cloud.example.org?x=1",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
        ] {
            let refused = gateway(bad).unwrap_err();
            assert!(matches!(refused, Error::Gateway { .. }), "{bad}");
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }

    #[test]
    fn spellings_of_one_gateway_are_equal() {
        assert_eq!(gateway("https://Cloud.Example.org:443/").unwrap(), "https://cloud.example.org");
        let v6 = "http://[::1]:9".parse::<Gateway>().unwrap();
        assert_eq!((v6.host(), v6.port(), v6.tls()), ("::1", 9, false));
    }

    #[test]
    fn flags_win_over_variables_and_these_over_the_file() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), "gateway = 'https://file.test'\nemail = 'file@x.test'\n").unwrap();
        let variables = |name: &str| match name {
            "CYXCLOUD_HOME" => Some(home.path().as_os_str().to_owned()),
            "CYXCLOUD_GATEWAY" => Some("https://env.test".into()),
            _ => None,
        };
        let config = Config::load_from(Overrides::default(), &variables).unwrap();
        assert_eq!(config.gateway.unwrap().as_str(), "https://env.test");
        assert_eq!(config.email.as_deref(), Some("file@x.test"));
        let flags = Overrides { gateway: Some("https://flag.test".into()), ..Overrides::default() };
        let config = Config::load_from(flags, &variables).unwrap();
        assert_eq!(config.gateway.unwrap().as_str(), "https://flag.test");
    }

    #[test]
    fn a_token_comes_from_the_environment_alone_and_is_not_shown() {
        let home = tempfile::tempdir().unwrap();
        let token = ApiToken::make().to_text();
        let load = |token: &str| {
            let variables = |name: &str| match name {
                "CYXCLOUD_HOME" => Some(home.path().as_os_str().to_owned()),
                "CYXCLOUD_TOKEN" => Some(token.into()),
                _ => None,
            };
            Config::load_from(Overrides::default(), &variables)
        };
        let shown = format!("{:?}", load(&token).unwrap());
        let (id, secrets) = token.split_once('.').unwrap();
        assert!(shown.contains(id) && secrets.split('.').all(|secret| !shown.contains(secret)), "{shown}");
        let error = load(&token[..100]).unwrap_err();
        assert!(error.exit_code() == 2 && !error.to_string().contains(id), "{error}");
        fs::write(home.path().join("config.toml"), "token = 'x'\n").unwrap();
        assert!(load(&token).is_err(), "a file cannot hold one");
    }

    #[test]
    fn a_mistyped_key_is_an_error_that_names_the_file() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), "gatway = 'https://file.test'\n").unwrap();
        let variables = |name: &str| (name == "CYXCLOUD_HOME").then(|| home.path().as_os_str().to_owned());
        let error = Config::load_from(Overrides::default(), &variables).unwrap_err();
        assert!(matches!(&error, Error::Config { path, .. } if path.ends_with("config.toml")), "{error}");
    }
}
