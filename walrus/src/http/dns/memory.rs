//! What was found out about one host, and how long it holds.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

/// The last answers about one host: pure.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The last good answer, and when it should be renewed and may no longer be used.
    good: Option<Good>,
    /// The last failure, and until when nobody asks again.
    bad: Option<(Arc<str>, Instant)>,
}

#[derive(Debug)]
struct Good {
    addresses: Arc<[IpAddr]>,
    renew: Instant,
    end: Instant,
}

/// What may be done with what is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Take it, whether good or bad.
    Fresh(Result<Arc<[IpAddr]>, Arc<str>>),
    /// Take it if it cannot be renewed.
    Stale(Arc<[IpAddr]>),
    /// Ask.
    Nothing,
}

/// The shortest and longest that an answer is taken for fresh, whatever it says itself.
const LEAST_TTL: Duration = Duration::from_secs(5);
const LONGEST_TTL: Duration = Duration::from_secs(300);

/// How long the last good answer outlives its time when there is no new one.
const STALE: Duration = Duration::from_secs(3600);

/// After a failure nobody asks for so long.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The same where an old answer does in the meantime: somebody has to wait for each attempt.
const RENEWAL_TTL: Duration = Duration::from_secs(15);

impl Memory {
    /// What is known now.
    pub(super) fn known(&self, now: Instant) -> Known {
        let good = self.good.as_ref().filter(|good| now < good.end);
        let bad = self.bad.as_ref().filter(|(_, end)| now < *end);
        match (good, bad) {
            (Some(good), _) if now < good.renew => Known::Fresh(Ok(Arc::clone(&good.addresses))),
            (Some(good), Some(_)) => Known::Fresh(Ok(Arc::clone(&good.addresses))),
            (Some(good), None) => Known::Stale(Arc::clone(&good.addresses)),
            (None, Some((why, _))) => Known::Fresh(Err(Arc::clone(why))),
            (None, None) => Known::Nothing,
        }
    }

    /// Notes what a look-up found: addresses and how long they hold, or why there are none. Gives
    /// what is to be used: an old answer rather than none.
    pub(super) fn note(
        &mut self,
        found: Result<(Vec<IpAddr>, Duration), String>,
        now: Instant,
    ) -> Result<Arc<[IpAddr]>, Arc<str>> {
        match found {
            Ok((addresses, ttl)) => {
                let addresses: Arc<[IpAddr]> = addresses.into();
                let renew = now + ttl.clamp(LEAST_TTL, LONGEST_TTL);
                let end = renew + STALE;
                self.good = Some(Good { addresses: Arc::clone(&addresses), renew, end });
                self.bad = None;
                Ok(addresses)
            }
            Err(why) => {
                let why: Arc<str> = why.into();
                let good = self.good.as_ref().filter(|good| now < good.end);
                let ttl = if good.is_some() { RENEWAL_TTL } else { FAILURE_TTL };
                self.bad = Some((Arc::clone(&why), now + ttl));
                good.map(|good| Arc::clone(&good.addresses)).ok_or(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn silent() -> Result<(Vec<IpAddr>, Duration), String> {
        Err("no answer".to_owned())
    }

    #[tokio::test]
    async fn answers_hold_for_their_time_within_limits() {
        let now = Instant::now();
        for (ttl, holds) in [(0, 5), (60, 60), (86_400, 300)] {
            let mut memory = Memory::default();
            assert_eq!(memory.known(now), Known::Nothing);
            let ttl = Duration::from_secs(ttl);
            let given = memory.note(Ok((vec![ADDRESS], ttl)), now).unwrap();
            let end = now + Duration::from_secs(holds);
            let just_before = end - Duration::from_millis(1);
            assert_eq!(memory.known(just_before), Known::Fresh(Ok(Arc::clone(&given))));
            assert_eq!(memory.known(end), Known::Stale(given));
        }
    }

    #[tokio::test]
    async fn a_failure_holds_for_a_second_if_nothing_is_known() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let why = memory.note(silent(), now).unwrap_err();
        assert_eq!(memory.known(now), Known::Fresh(Err(why)));
        assert_eq!(memory.known(now + FAILURE_TTL), Known::Nothing);
    }

    #[tokio::test]
    async fn the_last_good_answer_is_used_for_an_hour_while_dns_is_silent() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let given = memory.note(Ok((vec![ADDRESS], LEAST_TTL)), start).unwrap();
        let now = start + LEAST_TTL;
        assert_eq!(memory.note(silent(), now), Ok(Arc::clone(&given)));
        assert_eq!(memory.known(now), Known::Fresh(Ok(Arc::clone(&given))), "nobody waits");
        assert_eq!(memory.known(now + RENEWAL_TTL), Known::Stale(given), "but it is asked again");
        let now = start + LEAST_TTL + STALE;
        assert!(memory.note(silent(), now).is_err());
        assert_eq!(memory.known(now + FAILURE_TTL), Known::Nothing);
    }
}
