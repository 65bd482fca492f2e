//! Access tokens: JSON web tokens (RFC 7519), HS256.

use std::time::Duration;

use cyx_core::error::ErrorCode;
use cyx_core::ids::random_bytes;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::JwtConfig;
use crate::error::ApiError;
use crate::time::now_seconds;

/// Longest token that is looked at.
const LEN_MAX: usize = 4096;
/// How far the clocks of the services that share the secret may differ, in seconds: a token may begin so much later than now, and ours
/// begin so much earlier. Its end is taken as it stands.
pub(crate) const CLOCK_SKEW: u64 = 60;

/// What kind of caller a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserType {
    /// A person's device.
    User,
    /// A storage node's machine.
    Node,
    /// A program with a key of its own.
    ApiKey,
}

/// The content of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Account id, or machine id for nodes.
    pub sub: String,
    /// End of life, Unix seconds.
    pub exp: u64,
    /// When it was made.
    pub iat: u64,
    /// Not valid before.
    pub nbf: u64,
    /// Id of the token.
    pub jti: String,
    /// Issuer.
    pub iss: String,
    /// Kind of caller.
    pub user_type: UserType,
    /// Wallet address, from issuers that know one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// What the caller may do.
    pub permissions: Vec<String>,
    /// Session id; none for nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// Whom a new token speaks for.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Account id, or machine id for nodes.
    pub id: String,
    /// Session id; none for nodes.
    pub session: Option<String>,
    /// What the caller may do.
    pub permissions: Vec<String>,
    /// Address of the wallet that it logged in with.
    pub wallet: Option<String>,
}

/// A new token and its end.
#[derive(Clone)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Makes and checks tokens.
pub struct Jwt {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
}

impl Jwt {
    pub(super) fn new(secret: &[u8], config: &JwtConfig) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The end has no leeway; the beginning has one, in `check`.
        validation.leeway = 0;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        if config.skip_issuer_validation {
            validation.set_required_spec_claims(&["exp", "sub"]);
        } else {
            validation.set_required_spec_claims(&["exp", "sub", "iss"]);
            validation.set_issuer(&config.accepted_issuers);
        }
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            issuer: config.issuer.clone(),
        }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if it cannot be signed.
    pub fn issue(&self, user_type: UserType, subject: Subject, life: Duration) -> Result<Issued, ApiError> {
        let Subject { id, session, permissions, wallet } = subject;
        let now = now_seconds();
        let expires_at = now.saturating_add(life.as_secs());
        let claims = Claims {
            sub: id,
            exp: expires_at,
            iat: now,
            nbf: now.saturating_sub(CLOCK_SKEW),
            jti: hex::encode(random_bytes::<16>()),
            iss: self.issuer.clone(),
            user_type,
            wallet,
            permissions,
            sid: session,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding);
        Ok(Issued { token: token.map_err(ApiError::internal)?, expires_at })
    }

    /// Checks a token's form, signature, issuer and times.
    ///
    /// # Errors
    /// [`ErrorCode::TokenExpired`] for a good token that is too old, otherwise [`ErrorCode::InvalidCredentials`].
    pub fn check(&self, token: &str) -> Result<Claims, ApiError> {
        let refused = || ApiError::new(ErrorCode::InvalidCredentials, "the access token is not valid");
        if token.len() > LEN_MAX {
            return Err(refused());
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = decoded.map(|data| data.claims).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => ApiError::new(ErrorCode::TokenExpired, "the access token is too old"),
            _ => refused(),
        })?;
        // Neither from the future: who signs with a wrong clock, or wants a token that outlives its issue, is not believed.
        let latest = now_seconds().saturating_add(CLOCK_SKEW);
        if claims.nbf > latest || claims.iat > latest {
            return Err(ApiError::new(ErrorCode::InvalidCredentials, "the access token is not valid yet"));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(secret: &[u8], change: impl FnOnce(&mut JwtConfig)) -> Jwt {
        let mut config = crate::test_support::config(std::path::Path::new("/nonexistent")).jwt;
        change(&mut config);
        Jwt::new(secret, &config)
    }

    fn issue(jwt: &Jwt, life: u64) -> String {
        let permissions = vec!["storage:read".to_owned()];
        let subject = Subject { id: "aa".into(), session: Some("bb".into()), permissions, wallet: None };
        jwt.issue(UserType::User, subject, Duration::from_secs(life)).unwrap().token
    }

    fn sign(jwt: &Jwt, algorithm: Algorithm, claims: &Claims) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &jwt.encoding).unwrap()
    }

    #[test]
    fn a_token_carries_its_claims() {
        let jwt = jwt(b"0123456789abcdef", |_| {});
        let claims = jwt.check(&issue(&jwt, 60)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.sid.as_deref(), claims.user_type), ("aa", Some("bb"), UserType::User));
        assert_eq!((claims.exp - claims.iat, claims.iss.as_str()), (60, "cyxwiz-api"));
    }

    #[test]
    fn old_foreign_and_changed_tokens_are_refused() {
        let ours = jwt(b"0123456789abcdef", |_| {});
        // A life of zero seconds ends in the second in which it began; the library refuses `exp < now` only.
        let old = Claims { exp: 1, ..ours.check(&issue(&ours, 60)).unwrap() };
        let old = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &old, &ours.encoding).unwrap();
        assert_eq!(ours.check(&old).unwrap_err().code, ErrorCode::TokenExpired);

        let foreign = issue(&jwt(b"another secret!!", |_| {}), 60);
        assert_eq!(ours.check(&foreign).unwrap_err().code, ErrorCode::InvalidCredentials);

        let mut changed = issue(&ours, 60);
        changed.pop();
        assert_eq!(ours.check(&changed).unwrap_err().code, ErrorCode::InvalidCredentials);
        assert_eq!(ours.check("").unwrap_err().code, ErrorCode::InvalidCredentials);
        assert_eq!(ours.check(&"x".repeat(5000)).unwrap_err().code, ErrorCode::InvalidCredentials);
    }

    #[test]
    fn a_token_without_signature_is_refused() {
        use base64::Engine as _;
        let ours = jwt(b"0123456789abcdef", |_| {});
        let token = issue(&ours, 60);
        let body = token.split('.').nth(1).unwrap();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        assert!(ours.check(&format!("{header}.{body}.")).is_err());
    }

    #[test]
    fn only_the_one_algorithm_is_taken() {
        let ours = jwt(b"0123456789abcdef", |_| {});
        let claims = ours.check(&issue(&ours, 60)).unwrap();
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let other = sign(&ours, algorithm, &claims);
            assert_eq!(ours.check(&other).unwrap_err().code, ErrorCode::InvalidCredentials, "{algorithm:?}");
        }
        // The header of a public-key algorithm over a good HS256 signature: the key must not be taken for a public one.
        use base64::Engine as _;
        let (head, rest) = issue(&ours, 60).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        for algorithm in ["RS256", "ES256", "EdDSA", "PS256", "hs256", ""] {
            let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
            let forged = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
            assert_ne!(forged, head);
            assert!(ours.check(&format!("{forged}.{rest}")).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn clocks_may_differ_by_a_minute_and_no_more() {
        let ours = jwt(b"0123456789abcdef", |_| {});
        let claims = ours.check(&issue(&ours, 3600)).unwrap();
        let now = claims.iat;
        let with =
            |nbf: u64, iat: u64| ours.check(&sign(&ours, Algorithm::HS256, &Claims { nbf, iat, ..claims.clone() }));
        assert!(with(now + CLOCK_SKEW - 20, now + CLOCK_SKEW - 20).is_ok(), "a sibling whose clock is ahead");
        assert!(with(now - 3000, now - 3000).is_ok(), "one whose clock is behind");
        for (nbf, iat) in [(now + 1200, now), (now, now + 1200)] {
            assert_eq!(with(nbf, iat).unwrap_err().code, ErrorCode::InvalidCredentials);
        }
    }

    #[test]
    fn issuers_are_checked_unless_told_otherwise() {
        let secret = b"0123456789abcdef";
        let other = issue(&jwt(secret, |config| config.issuer = "elsewhere".into()), 60);
        assert!(jwt(secret, |_| {}).check(&other).is_err());
        assert!(jwt(secret, |config| config.accepted_issuers.push("elsewhere".into())).check(&other).is_ok());
        assert!(jwt(secret, |config| config.skip_issuer_validation = true).check(&other).is_ok());
    }
}
