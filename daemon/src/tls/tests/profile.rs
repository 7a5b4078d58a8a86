//! What a viewer may speak: TLS 1.2 and 1.3, with an ephemeral key exchange and an AEAD.

use rustls::{AlertDescription, CipherSuite};

use super::*;

const MODERN: [CipherSuite; 9] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

#[tokio::test]
async fn exactly_the_modern_suites_are_offered_and_each_of_them_works() {
    let certificates = Deployed::new(&FIRST).load().unwrap();
    let offered = &certificates.shared.provider.cipher_suites;
    let offered: Vec<_> = offered.iter().map(|suite| suite.suite()).collect();
    assert_eq!(offered, MODERN);
    let address = echo(&certificates).await;
    // Those with RSA need another certificate.
    for suite in offered.iter().filter(|suite| !format!("{suite:?}").contains("_RSA_")) {
        let mut only = aws_lc_rs::default_provider();
        only.cipher_suites.retain(|other| other.suite() == *suite);
        let mut roots = RootCertStore::empty();
        roots.add(FIRST.der.clone()).unwrap();
        let version = if format!("{suite:?}").starts_with("TLS13") { &TLS13 } else { &TLS12 };
        let config = ClientConfig::builder_with_provider(Arc::new(only))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = connect(address, &Arc::new(config)).await.unwrap();
        let agreed = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        assert_eq!(agreed.suite(), *suite);
    }
}

/// A ClientHello as clients of twenty years ago would send it.
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let list = |length: usize, bytes: Vec<u8>| {
        let count = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&count[4 - length..], &bytes].concat()
    };
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let extension =
        |kind: u16, content: Vec<u8>| [&kind.to_be_bytes()[..], &list(2, content)].concat();
    // P-256 and X25519; ECDSA with SHA-256, RSA-PSS and RSA with SHA-256.
    let extensions = [
        extension(10, list(2, words(&[0x0017, 0x001d]))),
        extension(11, list(1, vec![0])),
        extension(13, list(2, words(&[0x0403, 0x0804, 0x0401]))),
    ];
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &list(2, words(suites)),
        &[1, 0],
        &list(2, extensions.concat()),
    ];
    let message = [&[1][..], &list(3, body.concat())].concat();
    [&[22, 3, 1][..], &list(2, message)].concat()
}

/// The alert with which a ClientHello is refused; `None` if the handshake goes on.
async fn refusal(address: SocketAddr, hello: &[u8]) -> Option<AlertDescription> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let mut record = [0; 7];
    timeout(DEADLINE, stream.read_exact(&mut record)).await.unwrap().unwrap();
    match record {
        [21, .., description] => Some(description.into()),
        [22, ..] => None,
        other => panic!("{other:x?}"),
    }
}

#[tokio::test]
async fn old_versions_and_old_suites_are_refused() {
    let address = echo(&Deployed::new(&FIRST).load().unwrap()).await;
    let modern = [0xc02b, 0xc02c, 0xcca9];
    assert_eq!(refusal(address, &hello(0x0303, &modern)).await, None);
    for old in [0x0300, 0x0301, 0x0302] {
        let refused = refusal(address, &hello(old, &modern)).await;
        assert_eq!(refused, Some(AlertDescription::ProtocolVersion), "{old:x}");
    }
    for (suites, what) in [
        (&[0xc009, 0xc00a, 0xc023, 0xc024, 0xc013, 0xc014, 0xc027, 0xc028][..], "ECDHE with CBC"),
        (&[0x002f, 0x0035, 0x003c, 0x009c, 0x009d], "no ephemeral keys"),
        (&[0x009e, 0x009f, 0xccaa], "DHE"),
        (&[0xc007, 0xc011, 0x0005], "RC4"),
        (&[0xc008, 0xc012, 0x000a], "3DES"),
        (&[0xc006, 0xc010, 0x0001], "no encryption"),
        (&[0xc018, 0xc019, 0x00a6], "no certificate"),
    ] {
        let refused = refusal(address, &hello(0x0303, suites)).await;
        assert_eq!(refused, Some(AlertDescription::HandshakeFailure), "{what}");
    }
}
