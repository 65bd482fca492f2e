//! Names are bytes. Terminals get them escaped, JSON gets them as text and, where they are not text, in base64 too.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// A name for a terminal: control characters, characters that reorder text, bytes that are not UTF-8 and backslashes are
/// escaped, so that a name can neither drive the terminal nor pass for another.
#[must_use]
pub fn escape(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                '\\' => shown.push_str("\\\\"),
                _ if character.is_control() || reorders(character) => {
                    let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
                }
                _ => shown.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A text of several parts as it may go to a terminal: the last barrier, behind which no part of it can drive one.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    let drives = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if !text.contains(drives) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            _ if drives(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Characters that change the direction of text, are invisible, or separate lines: they make one name look like another.
fn reorders(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A key in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The key as text; bytes that are not UTF-8 are replaced.
    pub key: String,
    /// The key's bytes in base64, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
}

impl Key {
    /// A key.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let (key, key_base64) = text_and_base64(bytes);
        Self { key, key_base64 }
    }
}

/// A name in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The name as text; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The name's bytes in base64, if they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_base64: Option<String>,
}

impl Name {
    /// A name.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let (name, name_base64) = text_and_base64(bytes);
        Self { name, name_base64 }
    }
}

/// Adds a name to a JSON object under a field of another name: `field`, and `field_base64` if it is not UTF-8.
pub fn insert(object: &mut serde_json::Map<String, serde_json::Value>, field: &str, bytes: &[u8]) {
    let (text, base64) = text_and_base64(bytes);
    object.insert(field.to_owned(), text.into());
    if let Some(base64) = base64 {
        object.insert(format!("{field}_base64"), base64.into());
    }
}

/// Permission bits in JSON: `"0644"`.
#[must_use]
pub fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn text_and_base64(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_left_alone() {
        for name in ["cat.jpg", "Grüße aus Köln.txt", "猫", " -rf", "a b"] {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn names_cannot_drive_a_terminal() {
        assert_eq!(escape(b"a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape(b"a\nb\rc\td\x07\x7f"), "a\\nb\\rc\\td\\u{7}\\u{7f}");
        assert_eq!(escape("gpj.\u{202e}exe".as_bytes()), "gpj.\\u{202e}exe");
        assert_eq!(escape("\u{9b}31m".as_bytes()), "\\u{9b}31m");
    }

    #[test]
    fn no_part_of_a_text_drives_a_terminal() {
        assert_eq!(harmless("a: b\n\tü\\x"), "a: b\n\tü\\x");
        assert_eq!(harmless("a\u{1b}]52;c;\u{7}\r\u{9b}2J"), "a\\u{1b}]52;c;\\u{7}\\r\\u{9b}2J");
    }

    #[test]
    fn escaped_names_are_unambiguous() {
        assert_eq!(escape(b"\xff\\xff"), "\\xff\\\\xff");
    }

    #[test]
    fn only_names_that_are_not_text_have_base64() {
        let json = |bytes: &[u8]| serde_json::to_string(&Key::new(bytes)).unwrap();
        assert_eq!(json("ä\n".as_bytes()), r#"{"key":"ä\n"}"#);
        assert_eq!(json(b"a\xff"), r#"{"key":"a�","key_base64":"Yf8="}"#);
    }
}
