//! What user names, email addresses and device names look like.

use cyx_core::error::ErrorCode;
use cyx_core::login_name::{is_email, is_username};

use crate::error::ApiError;

/// Longest device name that is kept.
const DEVICE_MAX: usize = 64;

/// Checks a user name: 3 to 32 letters, digits and underscores.
///
/// # Errors
/// [`ErrorCode::InvalidUsername`].
pub fn username(text: &str) -> Result<(), ApiError> {
    if is_username(text) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::InvalidUsername, "a user name has 3 to 32 letters, digits and underscores"))
}

/// Checks the form of an email address (RFC 5322 without comments, quotes and literals). Whether mail arrives is found out by the
/// first login.
///
/// # Errors
/// [`ErrorCode::InvalidEmail`].
pub fn email(text: &str) -> Result<(), ApiError> {
    if is_email(text) && text.parse::<lettre::Address>().is_ok() {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::InvalidEmail, "the email address is not valid"))
}

/// Addresses and names that differ only in case are the same.
#[must_use]
pub fn key(text: &str) -> String {
    text.to_lowercase()
}

/// What is kept of a device's name: printable ASCII, since it is shown in mails.
#[must_use]
pub fn device_name(text: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let name: String = text.trim().chars().take(DEVICE_MAX).map(printable).collect();
    if name.is_empty() { "a device".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        for good in ["ada", "Ada_1815", &"x".repeat(32)] {
            assert_eq!(username(good), Ok(()));
        }
        for bad in ["ad", "a-da", "ada ", "ädä", "", &"x".repeat(33)] {
            assert_eq!(username(bad).unwrap_err().code, ErrorCode::InvalidUsername, "{bad}");
        }
    }

    #[test]
    fn email_addresses() {
        for good in ["a@example.org", "a.b+c@x-y.example", "ada@localhost"] {
            assert_eq!(email(good), Ok(()), "{good}");
        }
        for bad in
            ["a", "@example.org", "a@", "a..b@example.org", "a@-x.org", "a b@example.org", "a@x..org", "a@x\n.org"]
        {
            assert_eq!(email(bad).unwrap_err().code, ErrorCode::InvalidEmail, "{bad}");
        }
    }

    #[test]
    fn a_device_name_cannot_add_lines_to_a_mail() {
        assert_eq!(device_name("laptop\r\nhttps://evil"), "laptop??https://evil");
        assert_eq!(device_name("  "), "a device");
        assert_eq!(device_name(&"x".repeat(200)).len(), 64);
    }
}
