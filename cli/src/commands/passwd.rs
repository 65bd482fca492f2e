//! `cyx passwd`.

use cyx_client::Session;
use serde::Serialize;

use super::Context;
use crate::args::access::Passwd;
use crate::error::Result;
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
/// As [`Session::change_password`]; a usage error if a password is missing and nobody can be asked.
pub async fn run(context: &Context, args: &Passwd) -> Result<()> {
    let session = Session::connect(&context.config).await?;
    let current = prompt::current_password(args.password_stdin)?;
    let new = prompt::new_password(args.new_password_stdin)?;
    let revoked_sessions = session.change_password(&current, &new, args.revoke_api_keys).await?;
    if context.output.json() {
        return context.output.document(&Changed { changed: true, revoked_sessions });
    }
    let others = human::count(revoked_sessions, "other login", "other logins");
    context.output.note(format!("The password is changed; {others} ended. The recovery words are still the same."));
    Ok(())
}
