use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use proptest::prelude::*;
use tokio::time::{advance, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;

fn limits(anonymous: u32, key: u32, replicas: u32) -> config::Limits {
    config::Limits {
        anonymous_per_minute: anonymous,
        key_per_minute: key,
        replicas,
        ..config::Limits::default()
    }
}

fn key(n: u8) -> KeyId {
    format!("000000000{n}").parse().unwrap()
}

fn passes(decision: &Option<Decision>) -> bool {
    decision.as_ref().is_none_or(|it| it.wait.is_none())
}

#[tokio::test(start_paused = true)]
async fn an_address_has_a_hundred_a_minute_and_a_key_a_thousand_or_its_own_number() {
    let limiter = Limiter::new(&config::Limits::default(), None).unwrap();
    let address = "192.0.2.1".parse().ok();
    for left in (0..100).rev() {
        assert_eq!(limiter.anonymous(address).await.unwrap().left, left);
    }
    let refused = limiter.anonymous(address).await.unwrap();
    assert_eq!(refused.wait, Some(Duration::from_millis(600)));
    let mut headers = http::HeaderMap::new();
    refused.tell(&mut headers);
    assert_eq!(headers["ratelimit-policy"], "\"anonymous\";q=100;w=60");
    assert_eq!(headers["ratelimit"], "\"anonymous\";r=0;t=60");
    assert_eq!(headers["retry-after"], "1");
    assert!(passes(&limiter.anonymous("192.0.2.2".parse().ok()).await), "others are others");
    advance(Duration::from_millis(600)).await;
    assert!(passes(&limiter.anonymous(address).await));
    for _ in 0..1_000 {
        assert!(passes(&limiter.key(&key(1), 0).await));
    }
    assert!(!passes(&limiter.key(&key(1), 0).await));
    for n in 0..7 {
        assert_eq!(passes(&limiter.key(&key(2), 5).await), n < 5, "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_of_one_ipv6_network_share_a_budget_and_no_limit_is_none() {
    let limiter = Limiter::new(&limits(2, 0, 1), None).unwrap();
    for (address, expected) in [
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::3", false),
        ("2001:db8:0:1::", true),
    ] {
        assert_eq!(passes(&limiter.anonymous(address.parse().ok()).await), expected, "{address}");
    }
    for _ in 0..10_000 {
        assert_eq!(limiter.key(&key(1), 0).await, None);
    }
    assert_eq!(limiter.anonymous(None).await, None);
}

#[tokio::test(start_paused = true)]
async fn several_control_planes_that_do_not_count_together_give_their_part_each() {
    let limiter = Limiter::new(&limits(100, 1_000, 4), None).unwrap();
    let mut passed = 0;
    while passes(&limiter.key(&key(1), 0).await) {
        passed += 1;
    }
    assert_eq!(passed, 250);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_none_are_tried_some_times_and_then_seldom() {
    let limiter = Limiter::new(&config::Limits::default(), None).unwrap();
    let (address, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
    for _ in 0..10 {
        limiter.may_try(address).unwrap();
        limiter.failed(address);
    }
    assert_eq!(limiter.may_try(address), Err(Duration::from_secs(6)));
    assert_eq!(limiter.may_try(other), Ok(()));
    assert_eq!(limiter.may_try(None), Ok(()));
    advance(Duration::from_secs(6)).await;
    assert_eq!(limiter.may_try(address), Ok(()));
}

proptest! {
    #[test]
    fn never_more_than_a_minutes_worth_and_what_was_earned_since_pass(
        quota in 1u32..500,
        pauses in prop::collection::vec(0u64..2_000, 1..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let limiter = Limiter::new(&limits(0, quota, 1), None).unwrap();
            let mut passed = Vec::new();
            let begin = Instant::now();
            for pause in pauses {
                advance(Duration::from_millis(pause)).await;
                let decision = limiter.key(&key(1), 0).await.unwrap();
                prop_assert!(decision.left < quota.into());
                if decision.wait.is_none() {
                    passed.push((Instant::now() - begin).as_secs_f64());
                }
            }
            for (n, from) in passed.iter().enumerate() {
                let within = passed[n..].iter().filter(|at| **at <= from + 60.0).count();
                prop_assert!(within <= 2 * quota as usize);
            }
            Ok(())
        })?;
    }
}

/// A `redis-server` on a socket; it ends when this is dropped.
struct Redis(Child);

impl Redis {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--port", "0", "--unixsocket"]);
        command.arg(folder.join("redis.sock")).arg("--dir").arg(folder);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("redis-server is installed: scripts/install test"))
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A limiter that counts there.
fn counting(folder: &Path, quota: u32) -> Arc<Limiter> {
    let url = format!("redis+unix://{}", folder.join("redis.sock").display());
    let limits = config::Limits { redis_url: Some(url), ..limits(quota, quota, 2) };
    let limiter = Arc::new(Limiter::new(&limits, None).unwrap());
    let kept = Arc::clone(&limiter);
    let connecting = async move { kept.keep_connected(CancellationToken::new()).await };
    drop(tokio_util::task::TaskTracker::new().spawn(connecting));
    limiter
}

async fn is_up(limiter: &Limiter, expected: bool) {
    let waiting = async {
        while limiter.shared.as_ref().unwrap().is_up() != expected {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("it comes, or is missed");
}

#[tokio::test]
async fn two_that_count_in_one_redis_give_one_budget_together() {
    let folder = tempfile::tempdir().unwrap();
    let _redis = Redis::start(folder.path());
    let (one, other) = (counting(folder.path(), 60), counting(folder.path(), 60));
    is_up(&one, true).await;
    is_up(&other, true).await;
    let mut passed = 0;
    let begin = Instant::now();
    for n in 0..200 {
        let limiter = if n % 2 == 0 { &one } else { &other };
        passed += u64::from(passes(&limiter.key(&key(1), 0).await));
    }
    let earned = begin.elapsed().as_secs() + 1;
    assert!((60..=60 + earned).contains(&passed), "{passed} of 60 and {earned}");
    assert!(passes(&one.anonymous("192.0.2.1".parse().ok()).await));
}

#[tokio::test]
async fn a_redis_that_hangs_or_dies_costs_one_deadline_and_each_gives_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path());
    let limiter = counting(folder.path(), 100);
    is_up(&limiter, true).await;
    redis.signal("-STOP");
    let begin = Instant::now();
    assert!(passes(&limiter.key(&key(1), 0).await), "it is counted here");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    is_up(&limiter, false).await;
    let mut passed = 1;
    while passes(&limiter.key(&key(1), 0).await) {
        passed += 1;
    }
    assert!((50..60).contains(&passed), "{passed}: a half, and what is earned meanwhile");
    redis.signal("-CONT");
    is_up(&limiter, true).await;
    drop(redis);
    limiter.key(&key(2), 0).await;
    is_up(&limiter, false).await;
    let _again = Redis::start(folder.path());
    is_up(&limiter, true).await;
    assert!(passes(&limiter.key(&key(3), 0).await));
}

#[tokio::test]
async fn what_lies_in_redis_wrongly_costs_a_budget_at_most_and_nobody_else_anything() {
    let folder = tempfile::tempdir().unwrap();
    let _redis = Redis::start(folder.path());
    let limiter = counting(folder.path(), 60);
    is_up(&limiter, true).await;
    let url = format!("redis+unix://{}", folder.path().join("redis.sock").display());
    let mut client = redis::Client::open(url).unwrap().get_connection().unwrap();
    let place = |n: u8| format!("wcdn:limit:{{key-{}}}", key(n));
    redis::cmd("RPUSH").arg(place(1)).arg("x").exec(&mut client).unwrap();
    redis::cmd("SET").arg(place(2)).arg("x").exec(&mut client).unwrap();
    redis::cmd("SET").arg(place(3)).arg("99999999999999999").exec(&mut client).unwrap();
    for n in [1, 2] {
        assert_eq!(limiter.key(&key(n), 0).await.unwrap().left, 59);
    }
    let wait = limiter.key(&key(3), 0).await.unwrap().wait.unwrap();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    is_up(&limiter, true).await;
}
