//! New recovery words that may count from the moment at which the server hears of them.

use std::cell::Cell;
use std::future::Future;

use serde::Serialize;

use super::Context;

#[derive(Serialize)]
struct Unconfirmed<'a> {
    recovery_words: &'a str,
    /// Always null: neither yes nor no.
    confirmed: Option<bool>,
}

/// The call by which new recovery words come to count. If its answer is lost, or Ctrl-C comes first, they must not be lost with it: when
/// this is dropped it says that nobody knows which words count, and prints the new ones if they were not shown before.
pub(super) struct Unanswered<'a> {
    context: &'a Context,
    words: &'a str,
    open: Cell<bool>,
}

impl<'a> Unanswered<'a> {
    pub(super) fn new(context: &'a Context, words: &'a str) -> Self {
        Self { context, words, open: Cell::new(false) }
    }

    /// Makes the call.
    pub(super) async fn send<T>(&self, call: impl Future<Output = cyx_client::Result<T>>) -> cyx_client::Result<T> {
        self.open.set(true);
        let answer = call.await;
        self.open.set(answer.as_ref().is_err_and(cyx_client::Error::leaves_open));
        answer
    }

    /// The call was made, and nobody knows whether it was carried out.
    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.open.get() {
            return;
        }
        let output = &self.context.output;
        output.note("It is not known whether the new recovery words count by now or still the old ones: keep both.");
        if output.json() && output.document(&Unconfirmed { recovery_words: self.words, confirmed: None }).is_err() {
            output.warn("the new recovery words could not be printed");
        }
    }
}
