//! The form of v1 calls: each carries what its type needs.

use protocol::scheduler::Call;
use protocol::scheduler::call::Type;
use protocol::uuid::Uuid;

/// A call on `/api/v1/scheduler`. Missing required fields were refused when it was decoded.
pub(crate) fn scheduler(call: &Call, principal: Option<&str>) -> Result<(), String> {
    let Some(r#type) = call.r#type else {
        return Err("Expecting 'type' to be present".to_owned());
    };
    if r#type == Type::Subscribe {
        return subscribe(call, principal);
    }
    if call.framework_id.is_none() {
        return expecting("framework_id");
    }
    let present = |present: bool, field| if present { Ok(()) } else { expecting(field) };
    match r#type {
        Type::Subscribe | Type::Teardown | Type::Revive | Type::Suppress | Type::Unknown => Ok(()),
        Type::Accept => present(call.accept.is_some(), "accept"),
        Type::Decline => present(call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => {
            present(call.accept_inverse_offers.is_some(), "accept_inverse_offers")
        }
        Type::DeclineInverseOffers => {
            present(call.decline_inverse_offers.is_some(), "decline_inverse_offers")
        }
        Type::Kill => present(call.kill.is_some(), "kill"),
        Type::Shutdown => present(call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => match &call.acknowledge {
            Some(acknowledge) => uuid(&acknowledge.uuid),
            None => expecting("acknowledge"),
        },
        Type::AcknowledgeOperationStatus => match &call.acknowledge_operation_status {
            Some(acknowledge) => {
                uuid(&acknowledge.uuid)?;
                present(acknowledge.agent_id.is_some(), "agent_id")
            }
            None => expecting("acknowledge_operation_status"),
        },
        Type::Reconcile => present(call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => {
            present(call.reconcile_operations.is_some(), "reconcile_operations")
        }
        Type::Message => present(call.message.is_some(), "message"),
        Type::Request => present(call.request.is_some(), "request"),
        Type::UpdateFramework => match &call.update_framework {
            Some(update) if update.framework_info.id != call.framework_id => {
                Err("'framework_id' differs from 'update_framework.framework_info.id'".to_owned())
            }
            Some(_) => Ok(()),
            None => expecting("update_framework"),
        },
    }
}

fn subscribe(call: &Call, principal: Option<&str>) -> Result<(), String> {
    let Some(subscribe) = &call.subscribe else {
        return expecting("subscribe");
    };
    let info = &subscribe.framework_info;
    let value = |id: &Option<protocol::mesos::FrameworkId>| {
        id.as_ref().map(|id| id.value.clone()).unwrap_or_default()
    };
    if value(&info.id) != value(&call.framework_id) {
        return Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned());
    }
    if let (Some(principal), Some(named)) = (principal, info.principal.as_deref())
        && principal != named
    {
        return Err(format!(
            "Authenticated principal '{principal}' does not match principal '{named}' set in \
             `FrameworkInfo`"
        ));
    }
    Ok(())
}

fn expecting(field: &str) -> Result<(), String> {
    Err(format!("Expecting '{field}' to be present"))
}

fn uuid(bytes: &[u8]) -> Result<(), String> {
    Uuid::from_slice(bytes).map(|_| ()).map_err(|error| error.to_string())
}
