//! Values that several commands take.

use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use jiff::SignedDuration;
use streamkeeper_storage::{SseKms, StorageConfig};

/// A duration as Go writes it: `10s`, `1m30s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let hint = "write a number and a unit, like 500ms, 10s or 1m30s";
    let parsed: SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

/// A duration, or `0` for none.
pub(super) fn optional_duration(text: &str) -> Result<OptionalDuration, String> {
    if matches!(text, "0" | "none" | "off") {
        return Ok(OptionalDuration(None));
    }
    let duration = duration(text)?;
    Ok(OptionalDuration((!duration.is_zero()).then_some(duration)))
}

/// A duration that may be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OptionalDuration(pub(super) Option<Duration>);

/// How what is written to the storage is encrypted and signed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WriteArgs {
    /// How the store encrypts the state; unset, as the bucket says.
    #[arg(long, env = "STREAMKEEPER_SSE", value_enum)]
    sse: Option<Sse>,
    /// Id, ARN or alias of the key of --sse=aws:kms; unset, the service's own key for the store.
    #[arg(long, env = "STREAMKEEPER_SSE_KMS_KEY_ID", requires = "sse")]
    sse_kms_key_id: Option<String>,
    /// Leave the content of writes out of their signature, where TLS protects it.
    #[arg(
        long,
        env = "STREAMKEEPER_UNSIGNED_PAYLOAD",
        action = ArgAction::Set,
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    unsigned_payload: bool,
}

/// Kinds of encryption by the store.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sse {
    /// With a key of the key management service.
    #[value(name = "aws:kms")]
    Kms,
}

impl WriteArgs {
    /// How to reach the state, and how to reach tables: a key is one for the state, and the buckets
    /// of tables have their own.
    pub(super) fn configs(
        &self,
        endpoint: Option<&String>,
        region: Option<&String>,
    ) -> (StorageConfig, StorageConfig) {
        let tables = StorageConfig {
            endpoint: endpoint.cloned(),
            region: region.cloned(),
            sse: None,
            unsigned_payload: self.unsigned_payload,
        };
        let sse = self.sse.map(|Sse::Kms| SseKms {
            key_id: self.sse_kms_key_id.clone().filter(|key| !key.is_empty()),
        });
        let state = StorageConfig {
            sse,
            ..tables.clone()
        };
        (state, tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        assert!(duration("10").unwrap_err().contains("unit"));
        assert!(duration("-1s").is_err());
        assert!(duration("soon").is_err());
        assert_eq!(optional_duration("0s"), Ok(OptionalDuration(None)));
        assert_eq!(optional_duration("0"), Ok(OptionalDuration(None)));
    }
}
