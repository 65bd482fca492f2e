//! A node that is emptied, watched until it is: what is said when it moves, and while it does not.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Result;
use crate::output::human;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Between two words about a node from which nothing is moved.
const WORD: Duration = Duration::from_secs(30);

/// What is to be said after a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// How far it is.
    Moved,
    /// That nothing has moved for so long.
    Stands(Duration),
}

/// Looks again and again until it is over, and has said what is to be said.
///
/// # Errors
/// Those of looking and saying.
pub(super) async fn watch<P: PartialEq>(
    mut progress: P,
    mut say: impl FnMut(&P, &Look) -> Result<()>,
    is_over: impl Fn(&P) -> bool,
    mut look: impl AsyncFnMut() -> Result<P>,
) -> Result<()> {
    let (mut moved, mut said) = (Instant::now(), Instant::now());
    say(&progress, &Look::Moved)?;
    while !is_over(&progress) {
        tokio::time::sleep(EVERY).await;
        let now = look().await?;
        if now != progress {
            progress = now;
            (moved, said) = (Instant::now(), Instant::now());
            say(&progress, &Look::Moved)?;
        } else if said.elapsed() >= WORD {
            said = Instant::now();
            say(&progress, &Look::Stands(moved.elapsed()))?;
        }
    }
    Ok(())
}

/// That a node is not being emptied, so that who waits for it can look why.
pub(super) fn stands(chunks: u64, bytes: u64, time: Duration) -> String {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let since = human::local_time_seconds(now.saturating_sub(time.as_secs()));
    let chunks = human::count(chunks, "chunk", "chunks");
    format!("{chunks} ({}) left; nothing has moved since {since}.", human::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_not_emptied_is_talked_of_now_and_then() {
        let begin = Instant::now();
        let mut heard = Vec::new();
        let say = |left: &u64, look: &Look| {
            heard.push((
                begin.elapsed().as_secs(),
                *left,
                if let Look::Stands(time) = look { time.as_secs() } else { 0 },
            ));
            Ok(())
        };
        let left =
            async || Ok(if begin.elapsed().as_secs() < 61 { 2 } else { u64::from(begin.elapsed().as_secs() < 95) });
        watch(2, say, |left| *left == 0, left).await.unwrap();
        assert_eq!(heard, [(0, 2, 0), (30, 2, 30), (60, 2, 60), (62, 1, 0), (92, 1, 30), (96, 0, 0)]);
    }

    #[test]
    fn what_is_left_and_since_when_is_said() {
        let said = stands(1, 2048, Duration::from_secs(30));
        assert!(said.starts_with("1 chunk (") && said.contains("nothing has moved since "), "{said}");
    }
}
