//! One-time codes: from a mail, from an authenticator app (RFC 6238), from a list of backup codes.
//!
//! Codes and secrets of apps are derived from random ids and a secret of the server, so that they lie nowhere: whoever has only a
//! copy of the database has none of them.

use cyx_core::ids::{AccountId, SessionId, random_bytes};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Digits of a one-time code.
pub const OTP_DIGITS: usize = 6;
/// Seconds that a code of an app is shown.
const STEP: u64 = 30;
/// Steps that an app's clock may be off, either way.
const SKEW: u64 = 1;
/// Characters of a backup code, 5 bits each.
const BACKUP_LEN: usize = 10;
/// Crockford's: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The keys that codes are derived with.
#[derive(Clone)]
pub struct CodeKeys {
    mailed: Zeroizing<[u8; 32]>,
    app: Zeroizing<[u8; 32]>,
    backup: Zeroizing<[u8; 32]>,
}

impl CodeKeys {
    pub(super) fn derive(secret: &[u8]) -> Self {
        let key = |purpose| Zeroizing::new(blake3::derive_key(purpose, secret));
        Self {
            mailed: key("cyx v1 server one-time codes"),
            app: key("cyx v1 server authenticator apps"),
            backup: key("cyx v1 server backup codes"),
        }
    }

    /// The code that is mailed for a login or a challenge. Their ids are random and used once.
    #[must_use]
    pub fn mailed(&self, id: SessionId) -> String {
        self.digits(blake3::keyed_hash(&self.mailed, id.as_bytes()))
    }

    /// A second code for the same challenge, for another mailbox.
    #[must_use]
    pub fn mailed_elsewhere(&self, id: SessionId) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.mailed);
        self.digits(hasher.update(id.as_bytes()).update(b"elsewhere").finalize())
    }

    fn digits(&self, hash: blake3::Hash) -> String {
        // The bias of reducing 128 bits to a million is far below anything that could help a guess.
        let number = u128::from_le_bytes(super::first(hash.as_bytes())) % 1_000_000;
        format!("{number:0OTP_DIGITS$}")
    }

    fn app(&self, account: AccountId, enrolment: &[u8; 16]) -> Totp {
        let mut hasher = blake3::Hasher::new_keyed(&self.app);
        let hash = hasher.update(account.as_bytes()).update(enrolment).finalize();
        let mut secret = [0; 20];
        secret.copy_from_slice(&hash.as_bytes()[..20]);
        // Six digits, 30 seconds and SHA-1 are what every app understands; all values are right by construction.
        Builder::new().with_secret(Secret::new_stack(secret)).with_step_duration(STEP).build_noncompliant()
    }

    /// The secret of an app as people type it: base32 (RFC 4648) without padding.
    #[must_use]
    pub fn app_secret(&self, account: AccountId, enrolment: &[u8; 16]) -> String {
        self.app(account, enrolment).secret().to_base32()
    }

    /// The step whose code this is, among those near the given time (Unix seconds); in the same time whether there is one or not.
    #[must_use]
    pub fn app_step(&self, account: AccountId, enrolment: &[u8; 16], code: &str, now: u64) -> Option<i64> {
        let app = self.app(account, enrolment);
        let newest = now / STEP;
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for step in newest.saturating_sub(SKEW)..=newest.saturating_add(SKEW) {
            let expected = Zeroizing::new(app.generate(step * STEP).to_string());
            let equal = expected.as_bytes().ct_eq(code.trim().as_bytes());
            at.conditional_assign(&step, equal);
            found |= equal;
        }
        bool::from(found).then(|| i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// What an app shows at a time (Unix seconds).
    #[cfg(test)]
    pub(crate) fn app_code(&self, account: AccountId, enrolment: &[u8; 16], now: u64) -> String {
        self.app(account, enrolment).generate(now).to_string()
    }

    /// What is stored of a backup code; `None` for what cannot be one.
    #[must_use]
    pub fn backup_hash(&self, account: AccountId, code: &str) -> Option<[u8; 32]> {
        let code = normal(code)?;
        let mut hasher = blake3::Hasher::new_keyed(&self.backup);
        Some(*hasher.update(account.as_bytes()).update(code.as_bytes()).finalize().as_bytes())
    }
}

/// A new backup code, as it is shown: two groups of five characters.
#[must_use]
pub fn make_backup_code() -> String {
    let mut code = String::with_capacity(BACKUP_LEN + 1);
    for (index, byte) in random_bytes::<BACKUP_LEN>().into_iter().enumerate() {
        if index == BACKUP_LEN / 2 {
            code.push('-');
        }
        // 256 is a multiple of 32, so each character is as likely as any other.
        code.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    code
}

/// Without separators, in lower case, with letters that look like digits as those.
fn normal(code: &str) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(String::with_capacity(BACKUP_LEN));
    for c in code.trim().chars().filter(|c| !matches!(c, '-' | ' ')) {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        if out.len() == BACKUP_LEN || !c.is_ascii() || !ALPHABET.contains(&(c as u8)) {
            return None;
        }
        out.push(c);
    }
    (out.len() == BACKUP_LEN).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId([1; 16]);

    fn keys() -> CodeKeys {
        CodeKeys::derive(b"a secret of sixteen bytes")
    }

    #[test]
    fn apps_compute_codes_as_the_standard_says() {
        // Appendix B of RFC 6238, cut to six digits.
        let secret = Secret::new_stack(*b"12345678901234567890");
        let app = Builder::new().with_secret(secret).with_step_duration(STEP).build_noncompliant();
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(app.generate(time).to_string(), code);
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_or_late_and_no_more() {
        let (keys, now) = (keys(), 1_700_000_015);
        let step = i64::try_from(now / STEP).unwrap();
        for (offset, expected) in
            [(-60, None), (-30, Some(step - 1)), (0, Some(step)), (30, Some(step + 1)), (60, None)]
        {
            let code = keys.app_code(ACCOUNT, &[2; 16], now.checked_add_signed(offset).unwrap());
            assert_eq!(keys.app_step(ACCOUNT, &[2; 16], &code, now), expected, "{offset}");
        }
        for bad in ["", "12345", "1234567", "abcdef"] {
            assert_eq!(keys.app_step(ACCOUNT, &[2; 16], bad, now), None);
        }
    }

    #[test]
    fn secrets_differ_by_account_and_enrolment() {
        let keys = keys();
        let secret = keys.app_secret(ACCOUNT, &[2; 16]);
        assert_eq!(secret.len(), 32);
        assert_ne!(secret, keys.app_secret(ACCOUNT, &[3; 16]));
        assert_ne!(secret, keys.app_secret(AccountId([2; 16]), &[2; 16]));
    }

    #[test]
    fn backup_codes_are_read_as_people_type_them() {
        let keys = keys();
        let code = make_backup_code();
        assert_eq!(code.len(), BACKUP_LEN + 1);
        let hash = keys.backup_hash(ACCOUNT, &code).unwrap();
        for same in [code.to_uppercase(), code.replace('-', ""), format!(" {} ", code.replace('-', " "))] {
            assert_eq!(keys.backup_hash(ACCOUNT, &same), Some(hash), "{same}");
        }
        assert_eq!(keys.backup_hash(ACCOUNT, "o1ILo-abcde"), keys.backup_hash(ACCOUNT, "01110-ABCDE"));
        assert_ne!(keys.backup_hash(AccountId([2; 16]), &code), Some(hash));
        for bad in ["", "123456", "abcde-fghi", "abcde-fghjkm", "abcde-fghj\u{e9}", "uuuuu-uuuuu"] {
            assert_eq!(keys.backup_hash(ACCOUNT, bad), None, "{bad}");
        }
    }
}
