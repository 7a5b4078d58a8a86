//! What a control plane is told of origins: what was asked of them, and their lies.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use wcdn_proto::pb::edge::v1::{OriginTraffic, Report};

use crate::origin::Pool;

/// What was told in one session. A session begins with everything; then what has changed follows, from
/// time to time, or with the next report if something failed.
#[derive(Debug)]
pub struct Gathered {
    pool: Pool,
    told: HashMap<String, OriginTraffic>,
    told_at: Option<Instant>,
    /// The last lie.
    lie: u64,
}

/// Between two tellings of what went well.
const CALM: Duration = Duration::from_secs(5);

impl Gathered {
    /// Nothing was told yet.
    pub fn new(pool: Pool) -> Self {
        Self { pool, told: HashMap::new(), told_at: None, lie: 0 }
    }

    /// Fills the part of a report that is about origins.
    pub fn fill(&mut self, report: &mut Report, now: Instant) {
        report.lies = self.pool.lies().after(self.lie);
        self.lie = report.lies.last().map_or(self.lie, |lie| lie.seq);
        let mut news: Vec<_> = self.pool.traffic();
        news.retain(|traffic| self.told.get(&traffic.origin) != Some(traffic));
        let before = |traffic: &OriginTraffic| self.told.get(&traffic.origin).map_or(0, failures);
        let has_failed = news.iter().any(|traffic| failures(traffic) > before(traffic));
        let is_due = self.told_at.is_none_or(|at| now - at >= CALM);
        if news.is_empty() || !(is_due || has_failed) {
            return;
        }
        self.told_at = Some(now);
        for traffic in &news {
            self.told.insert(traffic.origin.clone(), traffic.clone());
        }
        report.origins = news;
    }
}

fn failures(traffic: &OriginTraffic) -> u64 {
    let OriginTraffic { unreachable, timed_out, refused, throttled, broken, slow, lies, .. } =
        traffic;
    [unreachable, timed_out, refused, throttled, broken, slow, lies].into_iter().sum()
}

#[cfg(test)]
mod tests {
    use wcdn_proto::BlobId;

    use super::*;
    use crate::origin::{Origin, attempt::AttemptError, pool::tests::pool};

    fn report(gathered: &mut Gathered) -> Report {
        let mut report = Report::default();
        gathered.fill(&mut report, Instant::now());
        report
    }

    fn named(report: &Report) -> Vec<&str> {
        report.origins.iter().map(|traffic| traffic.origin.as_str()).collect()
    }

    fn first(pool: &Pool) -> std::sync::Arc<Origin> {
        pool.ranked(&BlobId::from_bytes([7; 32]), None).remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_begins_with_all_and_goes_on_with_what_changed() {
        let pool = pool(&["a", "b", "c"]);
        let mut gathered = Gathered::new(pool.clone());
        assert_eq!(named(&report(&mut gathered)), ["a", "b", "c"]);
        assert!(report(&mut gathered).origins.is_empty());
        let origin = first(&pool);
        origin.served();
        assert!(report(&mut gathered).origins.is_empty(), "that can wait");
        tokio::time::advance(CALM).await;
        let told = report(&mut gathered);
        assert_eq!(named(&told), [origin.name().as_str()]);
        assert_eq!(told.origins[0].requests, 1);
        origin.failed(&AttemptError::Silent(Duration::from_secs(1)));
        assert_eq!(report(&mut gathered).origins[0].timed_out, 1, "that cannot");
        let mut other = Gathered::new(pool);
        assert_eq!(report(&mut other).origins.len(), 3, "another session knows nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn each_lie_is_told_once_in_a_session() {
        let pool = pool(&["a", "b", "c"]);
        let mut gathered = Gathered::new(pool.clone());
        report(&mut gathered);
        let blob = BlobId::from_bytes([7; 32]);
        first(&pool).lied(&blob);
        let told = report(&mut gathered);
        assert_eq!((told.lies.len(), told.lies[0].seq), (1, 1));
        assert_eq!(told.lies[0].content, blob.as_bytes().to_vec());
        assert_eq!(report(&mut gathered).lies, []);
        assert_eq!(report(&mut Gathered::new(pool)).lies.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_counted_of_an_origin_outlives_its_leaving() {
        let pool = pool(&["a", "b"]);
        let mut gathered = Gathered::new(pool.clone());
        let origin = first(&pool);
        let name = origin.name().to_string();
        origin.served();
        pool.replace(vec![]);
        assert_eq!(named(&report(&mut gathered)), ["a", "b"]);
        pool.replace(vec![crate::config::OriginSpec::new(
            name.parse().unwrap(),
            "http://elsewhere.example".parse().unwrap(),
        )]);
        first(&pool).served();
        tokio::time::advance(CALM).await;
        let told = report(&mut gathered);
        assert_eq!((named(&told), told.origins[0].requests), (vec![name.as_str()], 2));
    }
}
