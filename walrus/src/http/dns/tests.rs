use super::*;

#[test]
fn addresses_take_turns_within_their_family_ipv6_first() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let all = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"].map(ip);
    let order = |turn| in_turn(&all, turn).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(order(0), ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(order(1), ["2001:db8::1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]);
    let many: Vec<_> = (0..9).map(|n| ip(&format!("192.0.2.{n}"))).collect();
    let tried: std::collections::HashSet<_> = (0..9).flat_map(|n| in_turn(&many, n)).collect();
    assert_eq!(in_turn(&many, 8).len(), MAX_ADDRESSES);
    assert_eq!(tried.len(), 9, "every address has its turn");
}

/// A name server that answers nothing.
async fn silent() -> (tokio::net::UdpSocket, Resolver) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![socket.local_addr().unwrap()];
    let options = DnsOptions { servers, timeout: Duration::from_millis(200) };
    (socket, Resolver::new(options))
}

#[tokio::test]
async fn a_silent_dns_costs_its_deadline_once_for_all_who_wait() {
    let (_socket, resolver) = silent().await;
    let ask = || resolver.addresses("a.example");
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    let told = one.unwrap_err();
    assert_eq!(told.to_string(), "the addresses of a.example cannot be found: no answer for 200ms");
    for shared in [two.unwrap_err(), three.unwrap_err()] {
        assert!(Arc::ptr_eq(&shared.why, &told.why), "the very same answer");
    }
}

#[tokio::test]
async fn who_leaves_does_not_take_the_look_up_from_those_who_wait() {
    let (_socket, resolver) = silent().await;
    let impatient =
        tokio::time::timeout(Duration::from_millis(50), resolver.addresses("a.example"));
    let (left, waited) = tokio::join!(impatient, resolver.addresses("a.example"));
    assert!(left.is_err());
    assert!(waited.is_err(), "it was told, not kept waiting");
}

#[tokio::test]
async fn this_host_needs_no_dns() {
    let (_socket, resolver) = silent().await;
    let found = resolver.addresses("LocalHost").await.unwrap();
    assert_eq!(found, [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
}
