//! What the desk of tests says of origins.

use tonic::{Code, Request, Response, Status};
use wcdn_proto::pb::admin::v1::{
    GetOriginHealthRequest, GetOriginHealthResponse, GetOriginsRequest, GetOriginsResponse,
    ProbeOriginsRequest, ProbeOriginsResponse, RefreshOriginsRequest, RefreshOriginsResponse,
    SetOriginsRequest, SetOriginsResponse,
};

use super::desk::{Service, Streamed};

impl Service {
    pub(crate) fn origins(
        &self,
        asked: &Request<GetOriginsRequest>,
    ) -> Result<Response<GetOriginsResponse>, Status> {
        self.admit(asked)?;
        let mut state = self.state();
        let pool = Some(state.pool.clone());
        if state.rivals > 0 {
            state.rivals -= 1;
            state.pool.revision += 1;
        }
        Ok(Response::new(GetOriginsResponse { pool }))
    }

    pub(crate) fn replace_origins(
        &self,
        asked: &Request<SetOriginsRequest>,
    ) -> Result<Response<SetOriginsResponse>, Status> {
        let mut pool = asked.get_ref().pool.clone().unwrap_or_default();
        let present = self.state().pool.revision;
        if pool.revision != present {
            let told =
                format!("revision {} was replaced, the present one is {present}", pool.revision);
            return Err(Status::new(Code::Aborted, told));
        }
        let change = Some(self.change(asked, "origins", 0)?);
        pool.revision += 1;
        self.state().pool = pool.clone();
        Ok(Response::new(SetOriginsResponse { change, pool: Some(pool) }))
    }

    pub(crate) fn origin_health(
        &self,
        asked: &Request<GetOriginHealthRequest>,
    ) -> Result<Response<GetOriginHealthResponse>, Status> {
        self.admit(asked)?;
        self.state().asked.push(format!("{:?}", asked.get_ref()));
        let state = self.state();
        let (revision, origins) = (state.pool.revision, state.health.clone());
        Ok(Response::new(GetOriginHealthResponse { revision, origins }))
    }

    pub(crate) fn probes(
        &self,
        asked: &Request<ProbeOriginsRequest>,
    ) -> Result<Response<Streamed<ProbeOriginsResponse>>, Status> {
        self.admit(asked)?;
        let probes = self.state().probes.clone();
        Ok(Response::new(Box::pin(tokio_stream::iter(probes.into_iter().map(Ok)))))
    }

    pub(crate) fn refreshed(
        &self,
        asked: &Request<RefreshOriginsRequest>,
    ) -> Result<Response<RefreshOriginsResponse>, Status> {
        self.admit(asked)?;
        self.state().asked.push(format!("{:?}", asked.get_ref()));
        Ok(Response::new(self.state().refreshed.clone()))
    }
}
