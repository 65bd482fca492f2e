//! What user names and email addresses look like: the client checks them before it asks, the server because it trusts nobody.

/// Longest address (RFC 5321, with the angle brackets taken off).
const EMAIL_MAX: usize = 254;
/// Longest part before the `@` (RFC 5321).
const LOCAL_MAX: usize = 64;
/// Longest label of a domain (RFC 1035).
const LABEL_MAX: usize = 63;

/// Whether this is a user name: 3 to 32 ASCII letters, digits and underscores.
#[must_use]
pub fn is_username(text: &str) -> bool {
    (3..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether this has the form of an email address (RFC 5322 without comments, quotes and literals). Whether there is such a mailbox is found
/// out by sending a mail.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let dotted = |text: &str, allowed: fn(char) -> bool| {
        text.split('.').all(|part| !part.is_empty() && part.chars().all(allowed))
    };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let label = |c: char| c.is_alphanumeric() || c == '-';
    text.len() <= EMAIL_MAX
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            (1..=LOCAL_MAX).contains(&local.len())
                && dotted(local, atom)
                && dotted(domain, label)
                && domain
                    .split('.')
                    .all(|part| part.len() <= LABEL_MAX && !part.starts_with('-') && !part.ends_with('-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        for good in ["ada", "Ada_1815", &"x".repeat(32)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["ad", "a-da", "ada ", "ädä", "", &"x".repeat(33)] {
            assert!(!is_username(bad), "{bad}");
        }
    }

    #[test]
    fn email_addresses() {
        for good in ["a@example.org", "a.b+c@x-y.example", "ada@localhost", &format!("{}@x.org", "a".repeat(64))] {
            assert!(is_email(good), "{good}");
        }
        let long = [format!("{}@x.org", "a".repeat(65)), format!("a@{}.org", "x".repeat(64))];
        let bad =
            ["a", "@example.org", "a@", "a..b@example.org", "a@-x.org", "a b@example.org", "a@x..org", "a@x\n.org"];
        for bad in bad.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
