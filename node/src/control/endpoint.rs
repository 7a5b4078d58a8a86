//! Where a control plane is, and how this node shows who it is.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use wcdn_proto::pb::EDGE_TOKEN_CONTEXT;

use super::Client;
use crate::{config, secrets::Secrets};

/// The token that all nodes of a cluster show, derived from the cluster's key.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

/// Control planes, the preferred one first.
#[derive(Debug)]
pub struct Endpoints {
    endpoints: Vec<Endpoint>,
    token: Token,
}

/// To open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A control plane that is silent for so long, and then does not answer a ping in time, is gone: as
/// patient as it is with us, and in no haste, for datagrams tell of events meanwhile.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token of a cluster.
    pub fn new(cluster_key: &[u8; 32]) -> Self {
        let token = blake3::Hash::from_bytes(blake3::derive_key(EDGE_TOKEN_CONTEXT, cluster_key));
        let text = format!("Bearer {}", token.to_hex());
        let mut value: MetadataValue<Ascii> = text.parse().expect("hexadecimal is ASCII");
        value.set_sensitive(true);
        Self(value)
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Endpoints {
    /// Those of a configuration.
    ///
    /// # Errors
    /// When a URL, or what TLS needs, makes no sense.
    pub(crate) fn new(
        config: &config::Control,
        secrets: &Secrets,
        cluster_key: &[u8; 32],
    ) -> Result<Self, tonic::transport::Error> {
        let tls = tls(secrets);
        let endpoint = |url: &String| {
            let endpoint = Endpoint::from_shared(url.clone())?
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .keep_alive_while_idle(true);
            match endpoint.uri().scheme_str() {
                Some("https") => endpoint.tls_config(tls.clone()),
                _ => Ok(endpoint),
            }
        };
        let endpoints: Result<Vec<_>, _> = config.endpoints.iter().map(endpoint).collect();
        Ok(Self { endpoints: endpoints?, token: Token::new(cluster_key) })
    }

    /// Connects to one of them; numbers beyond their count begin again at the first.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(&self, number: usize) -> Result<Client, tonic::transport::Error> {
        let channel = self.endpoints[number % self.endpoints.len()].connect().await?;
        Ok(Client::new(InterceptedService::new(channel, self.token.clone())))
    }
}

fn tls(secrets: &Secrets) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new();
    if let Some(ca) = &secrets.control_ca {
        tls = tls.ca_certificate(Certificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &secrets.control_identity {
        tls = tls.identity(Identity::from_pem(certificate, key.expose()));
    }
    tls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_nothing_of_the_key_and_is_not_shown() {
        let token = Token::new(&[7; 32]);
        let text = token.0.to_str().unwrap();
        assert_eq!(text.len(), "Bearer ".len() + 64);
        assert!(!text.contains("0707"));
        assert_ne!(token.0, Token::new(&[8; 32]).0);
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
