//! The control planes of a system, and what they share.

use anyhow::Context;
use wcdn_postgres::Postgres;

use super::{Cluster, Home};
use crate::{
    desk::{Desk, Introduction, Place, Role},
    gossip_place::{GossipPlace, listen},
    topology::{CONTROL_ADMIN_PORT, CONTROL_PORT, Ports, Topology},
};

/// The name of the database that they share.
const DATABASE: &str = "wcdn";

/// The control planes, in their order.
#[derive(Debug, Default)]
pub(super) struct Desks {
    all: Vec<Seat>,
    /// Where they keep everything, if there are several.
    postgres: Option<Postgres>,
}

/// The ports of a control plane; 0 for any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeskPorts {
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    pub(crate) admin: u16,
}

/// The place of a control plane.
#[derive(Debug, Default)]
struct Seat {
    /// It, if it runs.
    desk: Option<Desk>,
    /// Its ports, if it ever ran.
    ports: Option<DeskPorts>,
}

impl DeskPorts {
    /// Those of one of several, from 0, that people are told.
    pub(crate) fn documented(n: usize) -> anyhow::Result<Self> {
        let n = u16::try_from(n)?;
        let http = CONTROL_PORT + 2 * n;
        Ok(Self { grpc: http + 1, http, admin: CONTROL_ADMIN_PORT + n })
    }
}

impl Desks {
    /// A database, if they need one.
    pub(super) async fn ground(topology: &Topology, home: &Home) -> anyhow::Result<Self> {
        let is_given = topology.control.store.url.is_some();
        if !topology.control_plane || topology.control_planes < 2 || is_given {
            return Ok(Self::default());
        }
        let made = match &topology.data {
            Some(_) => Postgres::create(&home.path.join("postgres")).await,
            None => Postgres::temporary().await,
        };
        let mut postgres = made.context("several control planes share a PostgreSQL database")?;
        postgres.start(&[]).await?;
        postgres.create_database(DATABASE).await?;
        Ok(Self { postgres: Some(postgres), ..Self::default() })
    }

    /// Drains and stops all of them, then the database.
    pub(super) async fn stop(self) {
        for desk in self.all.into_iter().filter_map(|seat| seat.desk) {
            desk.stop().await;
        }
        if let Some(mut postgres) = self.postgres {
            postgres.stop();
        }
    }
}

impl Cluster {
    /// Every control plane that there should be, from 0.
    pub(crate) fn desk_numbers(&self) -> std::ops::Range<usize> {
        let count = if self.topology.control_plane { self.topology.control_planes } else { 0 };
        0..usize::from(count)
    }

    /// Starts the first control plane, at the ports where it was before if it was, with what it knew.
    ///
    /// # Errors
    /// When a port is taken, or its folder cannot be used.
    pub async fn start_desk(&mut self, place: Option<GossipPlace>) -> anyhow::Result<()> {
        self.start_desk_at(0, place).await
    }

    /// The same for one of several, from 0.
    ///
    /// # Errors
    /// As [`Self::start_desk`].
    pub async fn start_desk_at(
        &mut self,
        n: usize,
        place: Option<GossipPlace>,
    ) -> anyhow::Result<()> {
        let ports = self.desk_ports(n)?;
        let (grpc, place) = match place {
            Some(place) => (listen(ports.grpc).await?, place),
            None => GossipPlace::beside(ports.grpc).await?,
        };
        let (http, admin) = (listen(ports.http).await?, listen(ports.admin).await?);
        let ports = DeskPorts {
            grpc: grpc.local_addr()?.port(),
            http: http.local_addr()?.port(),
            admin: admin.local_addr()?.port(),
        };
        let GossipPlace { socket, advertise } = place;
        let (mut config, role) = self.desk_role(n)?;
        let key = role.furnish(&mut config)?;
        let desk = Desk::start(Place { grpc, http, admin, gossip: socket, advertise }, config, key)
            .await?;
        self.desks.all.resize_with(self.desks.all.len().max(n + 1), Default::default);
        self.desks.all[n] = Seat { desk: Some(desk), ports: Some(ports) };
        Ok(())
    }

    fn desk_ports(&self, n: usize) -> anyhow::Result<DeskPorts> {
        if let Some(ports) = self.desks.all.get(n).and_then(|seat| seat.ports) {
            return Ok(ports);
        }
        if let Some((grpc, admin)) = self.topology.control_ports.filter(|_| n == 0) {
            return Ok(DeskPorts { grpc, admin, http: 0 });
        }
        Ok(match self.topology.ports {
            Ports::Documented => DeskPorts::documented(n)?,
            Ports::Any => DeskPorts::default(),
        })
    }

    /// The configuration of a control plane but for its sockets, and what else makes it one of several.
    pub(crate) fn desk_role(&self, n: usize) -> anyhow::Result<(wcdn_control_plane::Config, Role)> {
        let mut config = self.control_config()?;
        config.gossip.node = format!("control-plane-{}", n + 1).parse()?;
        config.gossip.seeds.extend(self.desks().map(|desk| desk.gossip.to_string()));
        if let Some(postgres) = &self.desks.postgres {
            config.store.url = Some(postgres.url(DATABASE).parse()?);
        }
        let first = self.home.path.join("control-plane");
        let home = match n {
            0 => first.clone(),
            n => self.home.path.join(format!("control-plane-{}", n + 1)),
        };
        let key = self.topology.api_key.clone();
        Ok((config, Role { home, first, cluster_key: self.home.cluster_key(), key }))
    }

    /// Changes the configuration with which control planes are started next.
    pub fn reconfigure_desk(&mut self, change: impl FnOnce(&mut wcdn_control_plane::Config)) {
        change(&mut self.topology.control);
    }

    /// Stops the first control plane, if it runs.
    pub async fn stop_desk(&mut self) {
        self.stop_desk_at(0).await;
    }

    /// Stops one of several, from 0, if it runs.
    pub async fn stop_desk_at(&mut self, n: usize) {
        if let Some(desk) = self.desks.all.get_mut(n).and_then(|seat| seat.desk.take()) {
            desk.stop().await;
        }
    }

    /// The first control plane that runs.
    pub fn desk(&self) -> Option<&Desk> {
        self.desks().next()
    }

    /// Every control plane that runs.
    pub fn desks(&self) -> impl Iterator<Item = &Desk> {
        self.desks.all.iter().filter_map(|seat| seat.desk.as_ref())
    }

    /// The database that several control planes share.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.desks.postgres.as_ref()
    }

    /// What edges need to know of every control plane that runs.
    pub(crate) fn introductions(&self) -> Vec<Introduction> {
        self.desks().map(Desk::introduction).collect()
    }
}
