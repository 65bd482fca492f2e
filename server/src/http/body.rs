//! Pieces of JSON bodies.

use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cyx_core::error::ErrorCode;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::accounts::confirm::Confirmation;
use crate::error::ApiError;

/// Bytes as standard base64 with padding. Overwritten when dropped, since many of them are keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Base64(pub Zeroizing<Vec<u8>>);

impl Base64 {
    /// The bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&*self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| D::Error::custom("not base64"))?;
        Ok(Self::from(bytes))
    }
}

/// A JSON body whose faults become the server's own kind of error.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let axum::Json(body) = axum::Json::<T>::from_request(request, state).await.map_err(refusal)?;
        Ok(Self(body))
    }
}

/// A body with the fields `confirmation_id` and `otp` beside those of `T`: what a path of the rule
/// [`Confirmed`](super::access::Access::Confirmed) takes.
pub struct Confirmed<T> {
    /// Password and code.
    pub confirmation: Confirmation,
    /// The rest.
    pub body: T,
}

/// A body that has no further fields.
#[derive(Deserialize)]
pub struct Nothing {}

#[derive(Deserialize)]
struct ConfirmationFields {
    confirmation_id: String,
    otp: String,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Confirmed<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            return Err(no_json());
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| refusal(error.into()))?;
        // Read twice rather than flattened, so that messages name the fields.
        let axum::Json(ConfirmationFields { confirmation_id, otp }) =
            axum::Json::from_bytes(&bytes).map_err(refusal)?;
        let axum::Json(body) = axum::Json::from_bytes(&bytes).map_err(refusal)?;
        Ok(Self { confirmation: Confirmation { id: super::rest::challenge_id(&confirmation_id)?, otp }, body })
    }
}

fn no_json() -> ApiError {
    ApiError::invalid("the body must be JSON, with the header content-type: application/json")
}

fn refusal(error: JsonRejection) -> ApiError {
    match error {
        JsonRejection::BytesRejection(error) if error.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(ErrorCode::TooLarge, "the body is too large")
        }
        // The message names the field and never repeats its value: bodies hold secrets.
        JsonRejection::JsonDataError(error) => ApiError::invalid(field_of(&error.body_text())),
        JsonRejection::MissingJsonContentType(_) => no_json(),
        _ => ApiError::invalid("the body is not valid JSON"),
    }
}

/// Only what stands before the first detail that could repeat input.
fn field_of(text: &str) -> String {
    let field = text.split(": ").nth(1).filter(|path| {
        !path.is_empty() && path.len() <= 64 && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(&b))
    });
    match (field, text.split('`').nth(1).filter(|_| text.contains("missing field `"))) {
        (_, Some(missing)) => format!("the field {missing} is missing"),
        (Some(field), None) => format!("the field {field} is not valid"),
        (None, None) => "a field of the body is missing or not valid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_standard_with_padding() {
        let value = Base64::from(vec![0xfb, 0xff]);
        assert_eq!(serde_json::to_string(&value).unwrap(), "\"+/8=\"");
        assert!(serde_json::from_str::<Base64>("\"+/8=\"").unwrap() == value);
        assert!(serde_json::from_str::<Base64>("\"-_8\"").is_err());
    }

    #[test]
    fn messages_name_fields_and_repeat_no_values() {
        let of = |text: &str| field_of(text);
        assert_eq!(
            of("Failed to deserialize the JSON body into the target type: auth_key: not base64 at line 1 column 30"),
            "the field auth_key is not valid"
        );
        assert_eq!(
            of("Failed to deserialize the JSON body into the target type: missing field `email` at line 1 column 2"),
            "the field email is missing"
        );
        let repeated = of(
            "Failed to deserialize the JSON body into the target type: invalid type: string \"hunter2\", expected u64",
        );
        assert!(!repeated.contains("hunter2"), "{repeated}");
    }
}
