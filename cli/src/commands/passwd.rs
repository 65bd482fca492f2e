//! `cyx passwd`.

use cyx_client::Session;
use cyx_client::identity::factors::Proof;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Context;
use super::confirm::confirmed_by;
use crate::args::access::Passwd;
use crate::error::{Error, Result};
use crate::output::human;
use crate::prompt;

#[derive(Serialize)]
struct Changed {
    changed: bool,
    revoked_sessions: u64,
}

/// Changes the password.
///
/// # Errors
/// As [`Session::change_password`]; a usage error if something is missing and nobody can be asked.
pub async fn run(context: &Context, args: &Passwd) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    // In the order in which they are asked for, and stand on standard input. Whoever goes on with --session has proved the current one.
    let current = match args.confirm.session {
        None => Some(prompt::current_password(args.confirm.password_stdin)?),
        Some(_) => None,
    };
    let new = match args.confirm.begin {
        true => Zeroizing::default(),
        false => prompt::new_password(args.new_password_stdin)?,
    };
    if !args.confirm.begin {
        session.check_new_password(&new).await?;
        if current.as_ref() == Some(&new) {
            return Err(Error::usage("the new password is the current one"));
        }
    }
    let lost = || Error::call("which password counts", "try both with `cyx login`.");
    let change =
        async |proof: Proof<'_>| session.change_password(&new, args.revoke_api_keys, proof).await.map_err(lost());
    let current = || current.ok_or_else(|| Error::usage("the current password is missing"));
    let done = confirmed_by(context, &session, &args.confirm, "cyx passwd", current, change).await?;
    let Some(revoked_sessions) = done else { return Ok(()) };
    if context.output.json() {
        return context.output.document(&Changed { changed: true, revoked_sessions });
    }
    let others = human::count(revoked_sessions, "other login", "other logins");
    context.output.note(format!("The password is changed; {others} ended. The recovery words are still the same."));
    Ok(())
}
