//! Rules for user names, email addresses and passwords, checked here because the server never sees a password.

use cyx_core::error::ErrorCode;
use cyx_core::login_name::{is_email, is_username};
use zxcvbn::Score;

use crate::error::{Error, Result};

/// Fewest characters of a password.
pub const PASSWORD_MIN: usize = 12;
/// Most bytes of a password.
pub const PASSWORD_MAX: usize = 1024;

/// Checks a user name: 3 to 32 letters, digits and underscores.
///
/// # Errors
/// [`ErrorCode::InvalidUsername`].
pub fn check_username(username: &str) -> Result<()> {
    if is_username(username) {
        return Ok(());
    }
    Err(refuse(
        ErrorCode::InvalidUsername,
        "the user name is not valid",
        "It has 3 to 32 letters, digits and underscores.",
    ))
}

/// Checks the form of an email address (RFC 5322 addresses without comments, quotes and literals). Whether it exists is found
/// out by sending a mail.
///
/// # Errors
/// [`ErrorCode::InvalidEmail`].
pub fn check_email(email: &str) -> Result<()> {
    if is_email(email) { Ok(()) } else { Err(refuse(ErrorCode::InvalidEmail, "the email address is not valid", "")) }
}

/// Checks a password: 12 characters with upper and lower case, a digit and a special one, and not one that is guessed quickly.
///
/// # Errors
/// [`ErrorCode::WeakPassword`] that says what is missing.
pub fn check_password(password: &str, username: &str, email: &str) -> Result<()> {
    let weak = |message: &str, advice: &str| Err(refuse(ErrorCode::WeakPassword, message, advice));
    if password.chars().count() < PASSWORD_MIN {
        return weak("the password is too short", "It needs at least 12 characters.");
    }
    if password.len() > PASSWORD_MAX {
        return weak("the password is too long", "It can have at most 1,024 bytes.");
    }
    let has = |kind: fn(char) -> bool| password.chars().any(kind);
    let special = |c: char| !c.is_alphanumeric();
    if !(has(char::is_uppercase) && has(char::is_lowercase) && has(|c| c.is_ascii_digit()) && has(special)) {
        return weak(
            "the password is too uniform",
            "It needs an upper-case letter, a lower-case letter, a digit and a special character.",
        );
    }
    let local = email.split('@').next().unwrap_or_default();
    let entropy = zxcvbn::zxcvbn(password, &[username, email, local, "cyx", "cyxcloud"]);
    if entropy.score() < Score::Three {
        let warning = entropy.feedback().and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
        let advice = warning.unwrap_or_else(|| "Add unrelated words or more characters.".into());
        return weak("the password is easy to guess", &advice);
    }
    Ok(())
}

fn refuse(code: ErrorCode, message: &str, advice: &str) -> Error {
    let advice = (!advice.is_empty()).then(|| advice.to_owned());
    Error::Invalid { code, message: message.to_owned(), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Option<String> {
        check_password(text, "ada_lovelace", "countess@example.org").err().map(|error| {
            assert_eq!(error.code(), ErrorCode::WeakPassword);
            error.to_string()
        })
    }

    #[test]
    fn strong_passwords_pass() {
        assert_eq!(password("Violet-Tramway-29-Okra"), None);
        assert_eq!(password("Grüße!4 Öfen im Wald"), None);
    }

    #[test]
    fn short_uniform_and_common_passwords_are_refused() {
        assert_eq!(password("Ab1!Ab1!Ab1").as_deref(), Some("the password is too short"));
        for uniform in ["violet-tramway-29", "VIOLET-TRAMWAY-29", "Violet-Tramway-Okra", "VioletTramway29Okra"] {
            assert_eq!(password(uniform).as_deref(), Some("the password is too uniform"), "{uniform}");
        }
        for common in ["Password123!", "Passw0rd!Passw0rd!", "Qwertyuiop1!", "Ada_lovelace1!"] {
            assert_eq!(password(common).as_deref(), Some("the password is easy to guess"), "{common}");
        }
        assert_eq!(password(&"Aa1!".repeat(300)).as_deref(), Some("the password is too long"));
    }

    #[test]
    fn user_names_and_addresses_have_a_form() {
        for good in ["ada", "Ada_1815", &"x".repeat(32)] {
            check_username(good).unwrap();
        }
        for bad in ["ad", "a-da", "ada ", "ädä", "", &"x".repeat(33)] {
            assert_eq!(check_username(bad).unwrap_err().code(), ErrorCode::InvalidUsername, "{bad}");
        }
        for good in ["a@example.org", "a.b+c@x-y.example", "ada@localhost"] {
            check_email(good).unwrap();
        }
        for bad in
            ["a", "@example.org", "a@", "a..b@example.org", "a@-x.org", "a b@example.org", "a@x..org", "a@x\n.org"]
        {
            assert_eq!(check_email(bad).unwrap_err().code(), ErrorCode::InvalidEmail, "{bad}");
        }
    }
}
