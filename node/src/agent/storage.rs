//! Where a node keeps its chunks: on its disk, or in an S3-compatible bucket, and what lets it into that.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cyx_core::ids::NodeId;
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::config::{ConfigError, Secret, base_url};

const SCHEME: &str = "s3://";
const REGION: &str = "us-east-1";
/// Longest file of credentials.
const FILE_MAX: u64 = 64 * 1024;
/// A request that takes longer has failed: a large object over a slow line takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What failed is tried again this often, and within this time.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// What opens a bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketKey {
    /// Public part.
    pub access_key_id: Secret,
    /// Secret part.
    pub secret_access_key: Secret,
    /// For a key that is good for a while only.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

/// A bucket that holds a node's chunks.
#[derive(Clone, Debug)]
pub struct BucketPlace {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: String,
    key: Option<BucketKey>,
    key_file: Option<PathBuf>,
}

/// Where a node keeps its chunks.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In the data directory.
    Disk,
    /// In a bucket; the data directory has the index.
    Bucket(BucketPlace),
}

/// What the configuration says about it.
#[derive(Default)]
pub(crate) struct StorageOptions {
    pub(crate) place: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) key: Option<BucketKey>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) allow_plain_http: bool,
}

impl Storage {
    /// Settles where the chunks are. The key is read when it is needed.
    pub(crate) fn resolve(options: StorageOptions) -> Result<Self, ConfigError> {
        let invalid = |text: &str| Err(ConfigError::Invalid(text.to_owned()));
        let Some(place) = options.place.filter(|place| place != "disk") else {
            if options.endpoint.is_some() || options.region.is_some() || options.key_file.is_some() {
                return invalid("the s3 options are of use with storage = s3://BUCKET/PREFIX only");
            }
            return Ok(Self::Disk);
        };
        let named = place.strip_prefix(SCHEME).unwrap_or_default();
        let (bucket, prefix) = named.split_once('/').unwrap_or((named, ""));
        let bare = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bucket.is_empty() || !bucket.chars().all(bare) || !prefix.chars().all(|c| bare(c) || c == '/') {
            return invalid("storage has to be disk or s3://BUCKET/PREFIX, in letters, digits, -, . and _");
        }
        let endpoint = options.endpoint.map(|url| base_url(&url, options.allow_plain_http)).transpose()?;
        Ok(Self::Bucket(BucketPlace {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint,
            region: options.region.unwrap_or_else(|| REGION.to_owned()),
            key: options.key,
            key_file: options.key_file,
        }))
    }
}

impl BucketKey {
    /// Reads a key from a file that nobody else may read.
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.mode() & 0o077 != 0 || metadata.len() > FILE_MAX {
            return Err(failed(std::io::Error::other("it has to be readable by its owner alone (chmod 600)")));
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        // The parser's own words would show the line, and with it a secret.
        toml::from_str(&text).map_err(|_| ConfigError::Syntax {
            path: path.to_owned(),
            message:
                "it has access_key_id = \"…\" and secret_access_key = \"…\", and session_token for a temporary key"
                    .to_owned(),
        })
    }
}

impl BucketPlace {
    /// What stands before the names of a node's objects. Several nodes may be given the same bucket.
    #[must_use]
    pub fn prefix(&self, node: NodeId) -> String {
        if self.prefix.is_empty() { node.to_string() } else { format!("{}/{node}", self.prefix) }
    }

    /// A client of the bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] without a key, or if the endpoint makes no sense.
    pub fn client(&self) -> Result<Arc<dyn ObjectStore>, ConfigError> {
        let key = match (&self.key, &self.key_file) {
            (_, Some(path)) => BucketKey::read(path)?,
            (Some(key), None) => key.clone(),
            (None, None) => {
                return Err(ConfigError::Invalid(
                    "the bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file of --s3-credentials"
                        .to_owned(),
                ));
            }
        };
        let plain = self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        let client =
            ClientOptions::new().with_allow_http(plain).with_timeout(TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(key.access_key_id.expose())
            .with_secret_access_key(key.secret_access_key.expose())
            .with_client_options(client)
            .with_retry(retry);
        if let Some(token) = &key.session_token {
            builder = builder.with_token(token.expose());
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let client =
            builder.build().map_err(|error| ConfigError::Invalid(format!("the bucket is no bucket: {error}")))?;
        Ok(Arc::new(client))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place(text: &str) -> Result<BucketPlace, ConfigError> {
        let options = StorageOptions { place: Some(text.to_owned()), ..StorageOptions::default() };
        Storage::resolve(options).map(|storage| match storage {
            Storage::Bucket(place) => place,
            Storage::Disk => panic!("a disk"),
        })
    }

    #[test]
    fn places_are_read_and_mistakes_refused() {
        let found = place("s3://chunks-1/nodes/a/").unwrap();
        assert_eq!((found.bucket.as_str(), found.prefix.as_str()), ("chunks-1", "nodes/a"));
        let node = NodeId([1; 16]);
        assert_eq!(found.prefix(node), format!("nodes/a/{node}"));
        assert_eq!(place("s3://chunks").unwrap().prefix(node), node.to_string());
        for wrong in ["s3://", "s3:///x", "gs://x", "/srv", "s3://a b", "s3://a/ä", ""] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(Storage::resolve(StorageOptions::default()), Ok(Storage::Disk)));
        let lost = StorageOptions { endpoint: Some("https://s3.example.org".to_owned()), ..StorageOptions::default() };
        assert!(Storage::resolve(lost).is_err(), "an endpoint without a bucket");
        let plain = StorageOptions {
            place: Some("s3://a".to_owned()),
            endpoint: Some("http://s3.example.org".to_owned()),
            ..StorageOptions::default()
        };
        assert!(Storage::resolve(plain).is_err(), "a key in plain text");
    }

    #[test]
    fn a_key_is_private_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "access_key_id = 'public'\nsecret_access_key = 'hunter2'\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = BucketKey::read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let key = BucketKey::read(&path).unwrap();
        assert_eq!(key.secret_access_key.expose(), "hunter2");
        assert!(!format!("{key:?}").contains("hunter2"));
        std::fs::write(&path, "access_key_id = 'public'\nsecret_access_key = hunter2\n").unwrap();
        let error = BucketKey::read(&path).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let without = place("s3://a").unwrap().client().unwrap_err().to_string();
        assert!(without.contains("AWS_ACCESS_KEY_ID"), "{without}");
    }
}
