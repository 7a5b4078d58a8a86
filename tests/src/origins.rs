//! How origins do, as an operator sees it, and what an operator does about it.

use tonic::Status;
use wcdn_proto::pb::{
    admin::v1::{
        GetOriginHealthRequest, GetOriginsRequest, OriginHealth, OriginProbe, OriginState,
        ProbeOriginsRequest, RefreshOriginsRequest, RefreshOriginsResponse, SetOriginsRequest,
        refresh_origins_request::Source,
    },
    edge::v1::{Origin, OriginPool},
};

use crate::operator::Operator;

impl Operator {
    /// How every origin does.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn health(&self) -> Vec<OriginHealth> {
        let request = GetOriginHealthRequest::default();
        let answer = self.admin.clone().get_origin_health(request).await;
        answer.expect("health is told").into_inner().origins
    }

    /// How one does.
    ///
    /// # Panics
    /// When there is none of this name.
    pub async fn health_of(&self, name: &str) -> OriginHealth {
        let found = self.health().await.into_iter().find(|health| named(health) == name);
        found.unwrap_or_else(|| panic!("there is no origin {name}"))
    }

    /// In which state one is.
    pub async fn state_of(&self, name: &str) -> OriginState {
        self.health_of(name).await.state()
    }

    /// Waits until one is in a state.
    pub async fn sees_origin(&self, name: &str, state: OriginState) {
        let what = format!("{name} is {state:?}");
        crate::eventually(&what, || async { self.state_of(name).await == state }).await;
    }

    /// Asks some now; all if none is named. What each answered.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn probe(&self, names: &[&str]) -> Vec<(String, OriginProbe)> {
        let names = names.iter().map(ToString::to_string).collect();
        let request = ProbeOriginsRequest { names, ..ProbeOriginsRequest::default() };
        let answer = self.admin.clone().probe_origins(request).await;
        let (mut stream, mut probes) = (answer.expect("they are asked").into_inner(), Vec::new());
        while let Some(answer) = stream.message().await.expect("the stream goes on to its end") {
            probes.push((answer.name, answer.probe.expect("an answer has a probe")));
        }
        probes
    }

    /// The pool.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn pool(&self) -> OriginPool {
        let answer = self.admin.clone().get_origins(GetOriginsRequest {}).await;
        answer.expect("the pool is told").into_inner().pool.expect("there is a pool")
    }

    /// Changes one origin of the pool, whatever else changes it meanwhile.
    pub async fn change_origin(&self, name: &str, change: impl Fn(&mut Origin)) {
        loop {
            let mut pool = self.pool().await;
            pool.origins.iter_mut().filter(|origin| origin.name == name).for_each(&change);
            let request = SetOriginsRequest { pool: Some(pool) };
            if self.admin.clone().set_origins(request).await.is_ok() {
                return;
            }
        }
    }

    /// Brings the pool up to date with a list.
    ///
    /// # Errors
    /// What the control plane says.
    pub async fn refresh(&self, source: Source) -> Result<RefreshOriginsResponse, Status> {
        let request =
            RefreshOriginsRequest { source: Some(source), ..RefreshOriginsRequest::default() };
        Ok(self.admin.clone().refresh_origins(request).await?.into_inner())
    }
}

/// The name of an origin.
pub fn named(health: &OriginHealth) -> &str {
    health.origin.as_ref().map_or("", |origin| origin.name.as_str())
}
