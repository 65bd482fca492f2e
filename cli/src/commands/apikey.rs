//! `cyx apikey`.

use std::collections::HashMap;

use cyx_client::Client;
use cyx_client::identity::api_keys::{ApiKey, NewApiKey};
use cyx_client::identity::factors::Proof;
use cyx_core::ids::{BucketId, SessionId};
use serde::Serialize;

use super::confirm::confirmed;
use super::{Context, Failures, bucket_name};
use crate::args::access::{self, ApiKeyCreate, ApiKeyRevoke};
use crate::error::{Error, Result};
use crate::output::{human, names};
use crate::when;

#[derive(Serialize)]
struct Document<'a> {
    id: String,
    name: &'a str,
    permissions: &'a [String],
    /// Its name; absent if there is none, or if it is gone.
    bucket: Option<&'a str>,
    bucket_id: Option<String>,
    created_at: &'a str,
    expires_at: String,
    last_used_at: Option<&'a str>,
    last_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> Document<'a> {
    fn new(key: &'a ApiKey, bucket: Option<&'a str>, token: Option<&'a str>) -> Self {
        Self {
            id: key.id.to_string(),
            name: &key.name,
            permissions: &key.permissions,
            bucket,
            bucket_id: key.bucket.map(|bucket| bucket.to_string()),
            created_at: &key.created_at,
            expires_at: human::rfc3339_seconds(key.expires_at),
            last_used_at: key.last_used_at.as_deref(),
            last_address: &key.last_address,
            token,
        }
    }
}

#[derive(Serialize)]
struct Revoked<'a> {
    id: &'a str,
    revoked: bool,
}

/// Does one of the commands.
///
/// # Errors
/// As the commands say.
pub async fn run(context: &Context, command: access::ApiKey) -> Result<()> {
    match command {
        access::ApiKey::Create(args) => create(context, args).await,
        access::ApiKey::List(_) => list(context).await,
        access::ApiKey::Revoke(args) => revoke(context, &args).await,
    }
}

async fn create(context: &Context, args: ApiKeyCreate) -> Result<()> {
    let bucket = args.bucket.as_deref().map(bucket_name).transpose()?;
    let expires_at = args.expires.as_deref().map(|text| when::future(text, jiff::Timestamp::now())).transpose()?;
    let new =
        NewApiKey { name: args.name, permissions: args.permissions, bucket: bucket.map(str::to_owned), expires_at };
    let client = context.client().await?;
    client.check_new_api_key(&new).await?;
    let how = "see `cyx apikey list`, and revoke it with `cyx apikey revoke`: nobody has its token.";
    let lost = || Error::call("whether there is a key of this name now", how);
    let create = async |proof: Proof<'_>| client.create_api_key(&new, proof).await.map_err(lost());
    let command = "cyx apikey create --name NAME";
    let Some(created) = confirmed(context, &client.session, &args.confirm, command, create).await? else {
        return Ok(());
    };
    let lost = || {
        let advice = format!("Revoke it with `cyx apikey revoke {}`, and make another.", created.key.id);
        Error::undelivered("the token of the new API key", advice)
    };
    if context.output.json() {
        return context.output.document(&Document::new(&created.key, bucket, Some(&created.token))).map_err(lost());
    }
    context.output.note(
        "This is the token of the new API key. Nobody can show it again: keep it now, as you would keep a password.",
    );
    context.output.line(created.token.as_str()).map_err(lost())?;
    let until = human::local_time_seconds(created.key.expires_at);
    context.output.note(format!(
        "Put it in CYXCLOUD_TOKEN to use it. It ends {until}; `cyx apikey revoke {}` ends it sooner.",
        created.key.id
    ));
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let client = context.client().await?;
    let keys = client.session.api_keys().await?;
    let buckets =
        if keys.iter().any(|key| key.bucket.is_some()) { bucket_names(&client).await? } else { HashMap::new() };
    for key in &keys {
        let bucket = key.bucket.and_then(|bucket| buckets.get(&bucket)).map(String::as_str);
        if context.output.json() {
            context.output.document(&Document::new(key, bucket, None))?;
        } else {
            context.output.line(line(key, bucket))?;
        }
    }
    Ok(())
}

async fn bucket_names(client: &Client) -> Result<HashMap<BucketId, String>> {
    let buckets = client.buckets().await?;
    // One that is not authentic has no name here; `cyx bucket list` says why.
    Ok(buckets.into_iter().filter_map(|bucket| bucket.ok().map(|bucket| (bucket.id, bucket.name))).collect())
}

fn line(key: &ApiKey, bucket: Option<&str>) -> String {
    let sees = match (key.bucket, bucket) {
        (None, _) => "all buckets".to_owned(),
        (Some(_), Some(name)) => format!("bucket {}", names::escape(name.as_bytes())),
        (Some(id), None) => format!("bucket {id}"),
    };
    let used = match &key.last_used_at {
        Some(time) => format!("used {} from {}", human::shown_time(time), names::escape(key.last_address.as_bytes())),
        None => "never used".to_owned(),
    };
    let until = human::local_time_seconds(key.expires_at);
    let (name, may) = (names::escape(key.name.as_bytes()), key.permissions.join(","));
    format!("{}  until {until}  {name}  {may}  {sees}  {used}", key.id)
}

async fn revoke(context: &Context, args: &ApiKeyRevoke) -> Result<()> {
    let client = context.client().await?;
    let mut failures = Failures::among(args.ids.len());
    for text in &args.ids {
        failures.count();
        match revoke_one(&client, text).await {
            Ok(()) if context.output.json() => {
                failures.said(context.output.document(&Revoked { id: text, revoked: true }));
            }
            Ok(()) => context.output.note(format!("Revoked {text}.")),
            Err(error) => failures.add(context, text.as_bytes(), error),
        }
    }
    failures.result()
}

async fn revoke_one(client: &Client, text: &str) -> Result<()> {
    let unknown = || Error::usage(format!("{} is not the id of an API key", names::escape(text.as_bytes())));
    let id: SessionId = text.parse().map_err(|_| unknown())?;
    Ok(client.revoke_api_key(id).await?)
}
