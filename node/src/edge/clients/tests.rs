use std::net::{IpAddr, Ipv4Addr};

use tokio::time::advance;

use super::{ledger::MAX_CLIENTS, *};
use crate::config::Limits;

fn clients(change: impl FnOnce(&mut Limits)) -> Clients {
    let mut limits = Limits::default();
    change(&mut limits);
    Clients::new(&limits)
}

/// Begins a fill that asks an origin.
fn miss(payer: &Payer) -> Result<(), Refusal> {
    payer.charge().map(|charge| charge.spend())
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from(n).into()
}

#[tokio::test(start_paused = true)]
async fn clients_of_one_ipv6_network_share_an_account_and_others_do_not() {
    let clients = clients(|limits| limits.miss_burst_per_client = 1);
    let payer = |address: &str| clients.payer(address.parse().unwrap());
    assert!(miss(&payer("2001:db8::1")).is_ok());
    assert!(miss(&payer("2001:db8::ffff:2")).is_err());
    assert!(miss(&payer("2001:db8:0:1::1")).is_ok());
    assert!(miss(&payer("192.0.2.1")).is_ok());
    assert!(miss(&payer("::ffff:192.0.2.1")).is_err(), "the same, in the other notation");
}

#[tokio::test(start_paused = true)]
async fn what_the_node_refuses_costs_the_client_nothing() {
    let clients = clients(|limits| {
        (limits.misses_per_client, limits.miss_burst_per_client) = (1, 5);
        limits.misses_per_second = 1;
    });
    for n in 0..4 {
        assert!(miss(&clients.payer(v4(n))).is_ok());
    }
    let payer = clients.payer(v4(9));
    for _ in 0..100 {
        assert!(matches!(miss(&payer), Err(Refusal::Node(_))));
    }
    advance(Duration::from_secs(60)).await;
    assert_eq!((0..100).filter(|_| miss(&payer).is_ok()).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_asked_no_origin_costs_nothing() {
    let clients = clients(|limits| limits.miss_burst_per_client = 1);
    let payer = clients.payer(v4(1));
    for _ in 0..10 {
        drop(payer.charge().unwrap());
    }
    payer.charge().unwrap().spend();
    assert!(matches!(payer.charge(), Err(Refusal::Client(_))));
}

#[tokio::test(start_paused = true)]
async fn one_client_has_so_many_fills_under_way_and_others_are_not_held_up_by_them() {
    let clients = clients(|limits| limits.fills_per_client = 2);
    let payer = clients.payer(v4(1));
    let mut under_way = vec![payer.charge().unwrap(), payer.charge().unwrap()];
    assert!(matches!(payer.charge(), Err(Refusal::Busy)));
    assert!(!payer.may_charge() && clients.payer(v4(2)).may_charge());
    assert!(clients.payer(v4(2)).charge().is_ok());
    under_way.pop().unwrap().spend();
    assert!(payer.may_charge() && payer.charge().is_ok());
}

#[tokio::test(start_paused = true)]
async fn requests_are_limited_only_where_a_rate_is_given() {
    let free = clients(|_| {});
    let payer = free.payer(v4(1));
    assert!((0..10_000).all(|_| payer.request(Instant::now()).is_ok()));
    let mut limits = Limits { requests_per_second_per_client: 10, ..Limits::default() };
    free.limit(&limits);
    assert_eq!((0..100).filter(|_| payer.request(Instant::now()).is_ok()).count(), 20);
    limits.requests_per_second_per_client = 0;
    free.limit(&limits);
    assert!(payer.request(Instant::now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_open_is_counted_until_it_is_dropped() {
    let clients = clients(|_| {});
    let payer = clients.payer(v4(1));
    let held = [payer.connect(2).unwrap(), payer.connect(2).unwrap()];
    assert!(clients.payer(v4(1)).connect(2).is_none());
    assert!(clients.payer(v4(2)).connect(2).is_some());
    drop(held);
    assert!(payer.connect(1).is_some());
    let stream = payer.begin(1).unwrap();
    assert!(payer.begin(1).is_none());
    drop(stream);
    assert!(payer.begin(1).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded_and_those_who_find_no_room_share_an_account() {
    let clients = clients(|limits| {
        (limits.misses_per_second, limits.miss_burst_per_client) = (0, 1);
    });
    // Twice as many as there is room for, so that every part is full.
    let many = u32::try_from(2 * MAX_CLIENTS).unwrap();
    let served = (0..many).filter(|n| miss(&clients.payer(v4(*n))).is_ok()).count();
    assert_eq!(clients.len(), MAX_CLIENTS);
    assert!((MAX_CLIENTS..=MAX_CLIENTS + 64).contains(&served), "{served} had an account");
    assert!(miss(&clients.payer(v4(many))).is_err(), "it shares");
    let busy = clients.payer(v4(7)).connect(1);
    advance(Duration::from_secs(2)).await;
    for n in many..many + 2_000 {
        assert!(miss(&clients.payer(v4(n))).is_ok());
    }
    assert!(clients.len() <= 2_001, "the idle ones went, but {} are left", clients.len());
    assert!(clients.payer(v4(7)).connect(1).is_none(), "not the one that is connected");
    drop(busy);
}
