//! API keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wcdn_proto::pb::admin::v1 as admin;

use super::{some, time};
use crate::{refusal::Refusal, rest::error::Problem};

/// What is known of a key: never its text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Key {
    /// Ten digits; they are in the key's text, too.
    #[schema(example = "4f8k2m9q1r")]
    id: String,
    /// Unique among all keys there ever were.
    #[schema(example = "ci")]
    name: String,
    #[schema(example = json!(["cache:purge"]))]
    scopes: Vec<String>,
    vaults: Vec<String>,
    networks: Vec<String>,
    /// Requests a minute; null for what every key may.
    per_minute: Option<u32>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    created_by: Option<String>,
    #[schema(format = DateTime)]
    rotated_at: Option<String>,
    /// Until when the text before is good.
    #[schema(format = DateTime)]
    previous_until: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    #[schema(format = DateTime)]
    used_at: Option<String>,
    used_from: Option<String>,
    /// Grows with every change to it; it is the ETag.
    #[serde(skip)]
    pub(in crate::rest) revision: u64,
}

/// A key that was made or rotated. Its text is told here, and nowhere else.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct MadeKey {
    pub(in crate::rest) id: String,
    /// The key, for its owner.
    #[schema(example = "wcdn_4f8k2m9q1r_…")]
    pub(in crate::rest) key: String,
    pub(in crate::rest) about: Option<Key>,
}

/// The key that a request carries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Me {
    pub(in crate::rest) key: Option<Key>,
    /// From where the request came.
    pub(in crate::rest) address: Option<String>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::rest) struct NewKey {
    #[schema(example = "ci")]
    pub(in crate::rest) name: String,
    /// Such as "cache:purge"; "*" stands for everything.
    #[schema(example = json!(["cache:purge"]))]
    scopes: Vec<String>,
    /// If there are any, it may touch nothing outside of these vaults.
    #[serde(default)]
    vaults: Vec<String>,
    /// If there are any, it is good from these networks only.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.0/24"]))]
    networks: Vec<String>,
    /// Requests a minute; null for what every key may.
    #[serde(default)]
    per_minute: Option<u32>,
    /// When it ends; null for never.
    #[serde(default)]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// What should become of a key: fields that are left out stay, null means none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::rest) struct KeyPatch {
    #[serde(default)]
    #[schema(example = json!(["cache:purge", "cache:read"]))]
    scopes: Option<Vec<String>>,
    #[serde(default, with = "given")]
    vaults: Option<Option<Vec<String>>>,
    #[serde(default, with = "given")]
    networks: Option<Option<Vec<String>>>,
    #[serde(default, with = "given")]
    per_minute: Option<Option<u32>>,
    #[serde(default, with = "given")]
    #[schema(format = DateTime)]
    expires_at: Option<Option<String>>,
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(in crate::rest) struct Rotation {
    /// How long the text before is good yet, such as "24h"; "0s" ends it at once. Without it, for as long as
    /// the control plane is configured to.
    #[schema(example = "24h")]
    pub(in crate::rest) grace: Option<String>,
    /// When that time begins; now if it is left out.
    #[schema(format = DateTime)]
    pub(in crate::rest) at: Option<String>,
}

/// A field that may be left out, and may be null.
mod given {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

impl From<admin::ApiKey> for Key {
    fn from(key: admin::ApiKey) -> Self {
        let settings = key.settings.unwrap_or_default();
        Self {
            id: key.id,
            name: key.name,
            scopes: settings.scopes,
            vaults: settings.vaults,
            networks: settings.networks,
            per_minute: Some(settings.per_minute).filter(|count| *count > 0),
            expires_at: time(settings.expires_at_ms),
            created_at: time(key.created_at_ms),
            created_by: some(key.created_by),
            rotated_at: time(key.rotated_at_ms),
            previous_until: time(key.previous_until_ms),
            revoked_at: time(key.revoked_at_ms),
            used_at: time(key.used_at_ms),
            used_from: some(key.used_from),
            revision: key.revision,
        }
    }
}

impl Key {
    /// Ten digits.
    pub(in crate::rest) fn id(&self) -> &str {
        &self.id
    }
}

impl NewKey {
    /// What it may do.
    ///
    /// # Errors
    /// What is no time.
    pub(in crate::rest) fn settings(self) -> Result<admin::KeySettings, Problem> {
        Ok(admin::KeySettings {
            scopes: self.scopes,
            vaults: self.vaults,
            networks: self.networks,
            per_minute: self.per_minute.unwrap_or(0),
            expires_at_ms: moment("expiresAt", self.expires_at)?,
        })
    }
}

impl KeyPatch {
    /// What a key may do that could do this before.
    ///
    /// # Errors
    /// What is no time.
    pub(in crate::rest) fn settings(
        self,
        before: admin::KeySettings,
    ) -> Result<admin::KeySettings, Problem> {
        let expires_at_ms = match self.expires_at {
            Some(given) => moment("expiresAt", given)?,
            None => before.expires_at_ms,
        };
        Ok(admin::KeySettings {
            scopes: self.scopes.unwrap_or(before.scopes),
            vaults: self.vaults.map_or(before.vaults, Option::unwrap_or_default),
            networks: self.networks.map_or(before.networks, Option::unwrap_or_default),
            per_minute: self.per_minute.map_or(before.per_minute, Option::unwrap_or_default),
            expires_at_ms,
        })
    }
}

/// A time that was given, in Unix milliseconds; 0 if there is none.
///
/// # Errors
/// What is no time.
pub(in crate::rest) fn moment(field: &str, text: Option<String>) -> Result<u64, Problem> {
    let Some(text) = text else { return Ok(0) };
    let time = text.parse::<jiff::Timestamp>().ok();
    let millis = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    let shown: String = text.chars().take(60).collect();
    let problem = format!("is {shown:?}; write a time such as 2026-12-31T23:59:59Z");
    millis.ok_or_else(|| Refusal::invalid(field, problem).into())
}
