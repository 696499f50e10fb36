//! The SDK's client.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};

use super::RequestLimits;
use crate::{StorageConfig, config::StaticCredentials};

/// Repeats of reads and unconditional writes, the first included.
const ATTEMPTS: u32 = 4;

/// A client with these credentials, else those of a web identity token, a container's or an
/// instance's role.
pub(super) async fn connect(
    config: &StorageConfig,
    credentials: Option<&StaticCredentials>,
    limits: &RequestLimits,
) -> Client {
    let http = http_client(config);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(limits.base)
        .operation_attempt_timeout(Duration::from_mins(1))
        .build();
    let base = match credentials {
        Some(keys) => {
            let token = keys.session_token.clone();
            let keys = Credentials::new(&keys.access_key, &keys.secret_key, token, None, "static");
            Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(keys)
        }
        None => Builder::from(&chain(config, http.clone()).await),
    };
    let mut base = base
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(retries())
        // Every stored object has a checksum of its own, and not every server knows S3's new ones.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(region) = region(config) {
        base = base.region(Region::new(region));
    }
    if let Some(endpoint) = &config.endpoint {
        base = base.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(base.build())
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(2))
}

async fn chain(config: &StorageConfig, http: SharedHttpClient) -> aws_config::SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region(config) {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}

/// Servers other than AWS's take any region, but a request cannot be signed without one.
fn region(config: &StorageConfig) -> Option<String> {
    let any = || config.endpoint.as_ref().map(|_| "us-east-1".to_owned());
    config.region.clone().or_else(any)
}

/// The system's certificates are trusted: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, where these
/// are set. `HTTPS_PROXY` and `NO_PROXY` name the proxy of a network without direct access.
fn http_client(config: &StorageConfig) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    // Without TLS the system's certificates, which an image may not have, are not looked for. Such
    // a server is near: no proxy stands between.
    if config
        .endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"))
    {
        return builder.build_http();
    }
    builder.build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        let tls = Provider::Rustls(CryptoMode::Ring);
        connector.tls_provider(tls).build()
    })
}
