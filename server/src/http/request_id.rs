//! The id under which a request appears in logs, in error bodies and in the answer's `x-request-id`.
//!
//! A caller's own id is kept if it is sane, so that one id follows a request from the command line to the storage nodes.

use cyx_core::ids::random_bytes;
use http::HeaderMap;

/// Longest id that is accepted from outside.
const LEN_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task serves; empty outside of one.
#[must_use]
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Runs a future as part of a request.
pub async fn scope<F: Future>(id: String, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

/// The caller's id, if it has a harmless form, or a fresh one.
#[must_use]
pub fn of(headers: &HeaderMap) -> String {
    let sane = |text: &&str| {
        (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = headers.get(cyx_proto::status::REQUEST_ID_KEY).and_then(|value| value.to_str().ok()).filter(sane);
    given.map_or_else(|| hex::encode(random_bytes::<8>()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(id: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", id.parse().unwrap());
        headers
    }

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        assert_eq!(of(&with("abc-1_2.3")), "abc-1_2.3");
        for odd in ["", "two words", "line\"quote", &"x".repeat(65)] {
            let fresh = of(&with(odd));
            assert_eq!(fresh.len(), 16);
            assert_ne!(fresh, odd);
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
