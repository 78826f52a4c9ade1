//! What an agent says of itself, as it is kept: with very many agents, their size is the master's size.

use std::sync::Arc;

use protocol::Message;
use protocol::mesos::{AgentId, AgentInfo, Attribute, DomainInfo};

use crate::table::Keyed;

/// An `AgentInfo`: what decisions and readers need often as fields, all else encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentDescription {
    /// Who it is; shared with all that keep it.
    pub id: Arc<AgentId>,
    /// The name of its machine.
    pub hostname: Arc<str>,
    /// Where it listens, if it says.
    pub port: Option<i32>,
    /// What operators say of it.
    pub attributes: Arc<[Attribute]>,
    /// Its region and zone.
    pub domain: Option<Box<DomainInfo>>,
    /// An `AgentInfo` without what stands above: its resources most of all.
    rest: Box<[u8]>,
}

impl Keyed for Arc<AgentDescription> {
    type Key = AgentId;

    fn key(&self) -> &AgentId {
        &self.id
    }
}

impl AgentDescription {
    /// Takes a description apart. One without an id, which nothing in the state is, gets an empty one.
    #[must_use]
    pub fn new(mut info: AgentInfo) -> Self {
        Self {
            id: Arc::new(info.id.take().unwrap_or_default()),
            hostname: std::mem::take(&mut info.hostname).into(),
            port: info.port.take(),
            attributes: std::mem::take(&mut info.attributes).into(),
            domain: info.domain.take().map(Box::new),
            rest: info.encode_to_vec().into_boxed_slice(),
        }
    }

    /// The same with the id in memory that is shared already.
    pub(crate) fn with_id(self, id: Arc<AgentId>) -> Self {
        Self { id, ..self }
    }

    /// The whole description.
    #[must_use]
    pub fn to_info(&self) -> AgentInfo {
        let mut info = AgentInfo::default();
        let read = info.merge(&self.rest, 0, false);
        debug_assert!(read.is_ok(), "what was encoded here can be read: {read:?}");
        info.id = Some((*self.id).clone());
        info.hostname = self.hostname.as_ref().to_owned();
        info.port = self.port;
        info.attributes = self.attributes.to_vec();
        info.domain = self.domain.as_deref().cloned();
        info
    }
}

#[cfg(test)]
mod tests {
    use protocol::mesos::value::{self, Scalar};
    use protocol::mesos::{Resource, domain_info};

    use super::*;

    #[test]
    fn an_agent_comes_back_whole() {
        let region = domain_info::fault_domain::RegionInfo {
            name: "region".to_owned(),
            ..Default::default()
        };
        let fault_domain = domain_info::FaultDomain { region, ..Default::default() };
        let info = AgentInfo {
            id: Some(AgentId { value: "agent".to_owned(), ..Default::default() }),
            hostname: "host".to_owned(),
            port: Some(5051),
            attributes: vec![Attribute { name: "rack".to_owned(), ..Default::default() }],
            domain: Some(DomainInfo { fault_domain: Some(fault_domain), ..Default::default() }),
            resources: vec![Resource {
                name: "cpus".to_owned(),
                r#type: value::Type::Scalar,
                scalar: Some(Scalar { value: 4.0, ..Default::default() }),
                ..Default::default()
            }],
            checkpoint: Some(true),
            ..Default::default()
        };
        assert_eq!(AgentDescription::new(info.clone()).to_info(), info);
        let least = AgentInfo { id: Some(AgentId::default()), ..Default::default() };
        assert_eq!(AgentDescription::new(least.clone()).to_info(), least);
    }
}
