//! The streams of operation updates that agents of Apache Mesos keep (`src/status_update_manager`).
//!
//! This agent keeps the status of an operation beside its resources, in one file that is replaced
//! as a whole. Agents of Mesos note acknowledgements in a file of their own first, so that an agent
//! which takes over their disk must not report what was acknowledged.

use std::collections::BTreeSet;

use protocol::internal::{UpdateOperationStatusRecord, update_operation_status_record};
use protocol::mesos;
use protocol::uuid::Uuid;

use super::read::Reader;
use crate::checkpoint::{Change, agent_directory, records};

impl Reader<'_> {
    /// Leaves out the operations whose end is acknowledged, and removes streams that nothing needs.
    pub(super) fn without_acknowledged(
        &mut self,
        operations: Vec<mesos::Operation>,
    ) -> Vec<mesos::Operation> {
        let streams = format!("{}/operations", agent_directory(&self.agent));
        let names: Vec<String> = self.tree.names(&streams).into_iter().map(str::to_owned).collect();
        let mut acknowledged = BTreeSet::new();
        for name in names {
            let directory = format!("{streams}/{name}");
            let uuid = name.parse::<Uuid>().ok().map(|uuid| uuid.to_vec());
            let is_known = |uuid: &Vec<u8>| operations.iter().any(|it| it.uuid.value == *uuid);
            match uuid.filter(is_known) {
                // As long as the operation is checkpointed the acknowledgement must be kept too.
                Some(uuid) if self.is_end_acknowledged(&directory) => {
                    acknowledged.insert(uuid);
                }
                Some(_) | None => self.repairs.push(Change::Remove { path: directory }),
            }
        }
        operations.into_iter().filter(|it| !acknowledged.contains(&it.uuid.value)).collect()
    }

    fn is_end_acknowledged(&mut self, directory: &str) -> bool {
        use update_operation_status_record::Type;
        let path = format!("{directory}/operation.updates");
        let content = self.tree.file(&path).unwrap_or_default();
        let sequence = records::decode_sequence::<UpdateOperationStatusRecord>(content);
        if let Some(error) = sequence.error {
            // At worst an operation is reported once more.
            self.warnings.push(format!("{path} {error}"));
        }
        let of_type = |wanted: Type| sequence.messages.iter().filter(move |it| it.r#type == wanted);
        let ends: BTreeSet<&[u8]> = of_type(Type::Update)
            .filter_map(|record| record.update.as_deref())
            .filter(|update| update.status.state.is_terminal())
            .filter_map(|update| update.status.uuid.as_ref())
            .map(|uuid| uuid.value.as_slice())
            .collect();
        of_type(Type::Ack)
            .filter_map(|record| record.uuid.as_ref())
            .any(|uuid| ends.contains(uuid.value.as_slice()))
    }
}
