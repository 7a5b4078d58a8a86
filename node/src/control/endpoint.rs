//! Where a control plane is, and how this node shows who it is.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{self, Certificate, ClientTlsConfig, Identity},
};
use wcdn_walrus::{Resolver, Unresolved};

use wcdn_proto::pb::EDGE_TOKEN_CONTEXT;

use super::Client;
use crate::{config, secrets::Secrets};

/// The token that all nodes of a cluster show, derived from the cluster's key.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

/// What is listed as a control plane. Its name may be that of several.
#[derive(Debug)]
pub struct Endpoint {
    url: String,
    named: transport::Endpoint,
    /// Where it is `https`.
    tls: Option<ClientTlsConfig>,
    token: Token,
}

/// How one control plane is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Way {
    /// As it is listed: by an address, or on this machine.
    Listed,
    /// By this address of its name.
    Address(SocketAddr),
}

/// Control planes of one name.
const MAX_WAYS: usize = 16;

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

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed => f.write_str("as listed"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Those that a configuration lists.
///
/// # Errors
/// When a URL, or what TLS needs, makes no sense.
pub(crate) fn listed(
    config: &config::Control,
    secrets: &Secrets,
    cluster_key: &[u8; 32],
) -> Result<Vec<Endpoint>, transport::Error> {
    let (tls, token) = (tls(secrets), Token::new(cluster_key));
    let urls = config.endpoints.iter();
    urls.map(|url| Endpoint::new(url, &tls, token.clone())).collect()
}

impl Endpoint {
    fn new(url: &str, tls: &ClientTlsConfig, token: Token) -> Result<Self, transport::Error> {
        let named = patient(transport::Endpoint::from_shared(url.to_owned())?);
        let is_https = named.uri().scheme_str() == Some("https");
        let tls = is_https.then(|| tls.clone());
        let named = match &tls {
            Some(tls) => named.tls_config(tls.clone())?,
            None => named,
        };
        Ok(Self { url: url.to_owned(), named, tls, token })
    }

    /// As it is listed.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn host(&self) -> &str {
        self.named.uri().host().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// How each control plane of this name is reached, at present.
    ///
    /// # Errors
    /// [`Unresolved`] when nobody says which addresses the name has.
    pub(super) async fn ways(&self, resolver: &Resolver) -> Result<BTreeSet<Way>, Unresolved> {
        let host = self.host();
        if host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") {
            return Ok(BTreeSet::from([Way::Listed]));
        }
        let port = self.named.uri().port_u16();
        let port = port.unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let addresses = resolver.all(host).await?;
        let ways: BTreeSet<_> =
            addresses.iter().map(|ip| Way::Address(SocketAddr::new(*ip, port))).collect();
        Ok(ways.into_iter().take(MAX_WAYS).collect())
    }

    /// Connects.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) async fn connect(&self, way: Way) -> Result<Client, transport::Error> {
        let channel = match way {
            Way::Listed => self.named.connect().await?,
            Way::Address(address) => self.at(address)?.connect().await?,
        };
        Ok(Client::new(InterceptedService::new(channel, self.token.clone())))
    }

    /// The same at one address of its name; its certificate is that of the name all the same.
    fn at(&self, address: SocketAddr) -> Result<transport::Endpoint, transport::Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let endpoint = patient(transport::Endpoint::from_shared(url)?);
        let endpoint = endpoint.origin(self.named.uri().clone());
        match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone().domain_name(self.host())),
            None => Ok(endpoint),
        }
    }
}

fn patient(endpoint: transport::Endpoint) -> transport::Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
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
    use wcdn_walrus::DnsOptions;

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

    async fn ways(url: &str) -> Result<Vec<Way>, Unresolved> {
        let endpoint = Endpoint::new(url, &ClientTlsConfig::new(), Token::new(&[7; 32])).unwrap();
        // Nobody answers there.
        let nobody = DnsOptions {
            servers: vec![([127, 0, 0, 1], 9).into()],
            timeout: Duration::from_millis(100),
        };
        let ways = endpoint.ways(&Resolver::new(nobody)).await?;
        Ok(ways.into_iter().collect())
    }

    #[tokio::test]
    async fn what_is_listed_by_its_address_is_not_looked_up() {
        for url in ["http://127.0.0.1:1", "https://[::1]:1", "http://LocalHost:1"] {
            assert_eq!(ways(url).await.unwrap(), [Way::Listed], "{url}");
        }
        let unresolved = ways("https://control.test:4501").await.unwrap_err();
        assert!(unresolved.to_string().contains("control.test"), "{unresolved}");
    }

    #[test]
    fn one_of_several_of_a_name_is_called_by_the_name() {
        let tls = ClientTlsConfig::new();
        let url = "https://control.test:4501";
        let endpoint = Endpoint::new(url, &tls, Token::new(&[7; 32])).unwrap();
        let address = "[2001:db8::1]:4501".parse().unwrap();
        assert_eq!(endpoint.at(address).unwrap().uri(), "https://[2001:db8::1]:4501/");
        assert_eq!(endpoint.host(), "control.test");
    }
}
