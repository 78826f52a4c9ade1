//! The messages of the libprocess protocol, one closed enum for each direction.
//!
//! A message travels as `POST /<actor>/<full protobuf name>` with the binary encoding as its body
//! (`3rdparty/libprocess/src/process.cpp`). What a peer may send is what Mesos installs handlers for
//! (`src/master/master.cpp`, `src/slave/slave.cpp`, `src/sched/sched.cpp`, `src/exec/exec.cpp`).

use crate::wire::DecodeError;
use crate::{Message, internal, scheduler, scheduler_v0};

/// Defines the enum of one direction. The wire name is given because a v0 name is needed where the
/// type is shared with v1. Types that are much larger than the others are boxed, since every message
/// would else be as large.
macro_rules! direction {
    (@kept $type:ty) => { $type };
    (@kept $type:ty, boxed) => { Box<$type> };
    (
        $(#[$documentation:meta])*
        $direction:ident {
            $($variant:ident($type:ty $(, $boxed:ident)?) = $name:literal,)*
        }
    ) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $direction {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant(direction!(@kept $type $(, $boxed)?)),
            )*
        }

        impl $direction {
            /// The names of all messages of this direction, as they stand in the path.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The full protobuf type name, as it stands in the path.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            /// Reads the message called `name`; `None` if this direction has no such message.
            #[must_use]
            pub fn decode(name: &str, body: &[u8]) -> Option<Result<Self, DecodeError>> {
                match name {
                    $($name => Some(<$type>::decode(body).map(Self::from)),)*
                    _ => None,
                }
            }

            /// The body of the message.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(message) => message.encode_to_vec(),)*
                }
            }
        }

        $(
            impl From<$type> for $direction {
                fn from(message: $type) -> Self {
                    Self::$variant(message.into())
                }
            }
        )*
    };
}

direction! {
    /// What an agent sends to the master (or to the master's observer of the agent).
    AgentToMaster {
        Authenticate(internal::AuthenticateMessage) = "mesos.internal.AuthenticateMessage",
        RegisterSlave(internal::RegisterSlaveMessage) = "mesos.internal.RegisterSlaveMessage",
        ReregisterSlave(internal::ReregisterSlaveMessage) = "mesos.internal.ReregisterSlaveMessage",
        UnregisterSlave(internal::UnregisterSlaveMessage) = "mesos.internal.UnregisterSlaveMessage",
        UpdateSlave(internal::UpdateSlaveMessage) = "mesos.internal.UpdateSlaveMessage",
        StatusUpdate(internal::StatusUpdateMessage) = "mesos.internal.StatusUpdateMessage",
        ExitedExecutor(internal::ExitedExecutorMessage) = "mesos.internal.ExitedExecutorMessage",
        ExecutorToFramework(internal::ExecutorToFrameworkMessage)
            = "mesos.internal.ExecutorToFrameworkMessage",
        UpdateOperationStatus(internal::UpdateOperationStatusMessage)
            = "mesos.internal.UpdateOperationStatusMessage",
        PongSlave(internal::PongSlaveMessage) = "mesos.internal.PongSlaveMessage",
    }
}

direction! {
    /// What the master sends to an agent. Schedulers send some of these straight to the agent.
    MasterToAgent {
        SlaveRegistered(internal::SlaveRegisteredMessage) = "mesos.internal.SlaveRegisteredMessage",
        SlaveReregistered(internal::SlaveReregisteredMessage)
            = "mesos.internal.SlaveReregisteredMessage",
        PingSlave(internal::PingSlaveMessage) = "mesos.internal.PingSlaveMessage",
        RunTask(internal::RunTaskMessage, boxed) = "mesos.internal.RunTaskMessage",
        RunTaskGroup(internal::RunTaskGroupMessage, boxed) = "mesos.internal.RunTaskGroupMessage",
        KillTask(internal::KillTaskMessage) = "mesos.internal.KillTaskMessage",
        ShutdownExecutor(internal::ShutdownExecutorMessage)
            = "mesos.internal.ShutdownExecutorMessage",
        ShutdownFramework(internal::ShutdownFrameworkMessage)
            = "mesos.internal.ShutdownFrameworkMessage",
        FrameworkToExecutor(internal::FrameworkToExecutorMessage)
            = "mesos.internal.FrameworkToExecutorMessage",
        UpdateFramework(internal::UpdateFrameworkMessage) = "mesos.internal.UpdateFrameworkMessage",
        CheckpointResources(internal::CheckpointResourcesMessage)
            = "mesos.internal.CheckpointResourcesMessage",
        ApplyOperation(internal::ApplyOperationMessage, boxed) = "mesos.internal.ApplyOperationMessage",
        ReconcileOperations(internal::ReconcileOperationsMessage)
            = "mesos.internal.ReconcileOperationsMessage",
        StatusUpdateAcknowledgement(internal::StatusUpdateAcknowledgementMessage)
            = "mesos.internal.StatusUpdateAcknowledgementMessage",
        AcknowledgeOperationStatus(internal::AcknowledgeOperationStatusMessage)
            = "mesos.internal.AcknowledgeOperationStatusMessage",
        DrainSlave(internal::DrainSlaveMessage) = "mesos.internal.DrainSlaveMessage",
        Shutdown(internal::ShutdownMessage) = "mesos.internal.ShutdownMessage",
        AuthenticationError(internal::AuthenticationErrorMessage)
            = "mesos.internal.AuthenticationErrorMessage",
    }
}

direction! {
    /// What a scheduler driver sends to the master: `Call` from libmesos since 0.23, the other
    /// messages from older ones and from drivers in other languages.
    SchedulerToMaster {
        Call(scheduler_v0::Call) = "mesos.scheduler.Call",
        Authenticate(internal::AuthenticateMessage) = "mesos.internal.AuthenticateMessage",
        DeactivateFramework(internal::DeactivateFrameworkMessage)
            = "mesos.internal.DeactivateFrameworkMessage",
        FrameworkToExecutor(internal::FrameworkToExecutorMessage)
            = "mesos.internal.FrameworkToExecutorMessage",
        RegisterFramework(internal::RegisterFrameworkMessage)
            = "mesos.internal.RegisterFrameworkMessage",
        ReregisterFramework(internal::ReregisterFrameworkMessage)
            = "mesos.internal.ReregisterFrameworkMessage",
        UnregisterFramework(internal::UnregisterFrameworkMessage)
            = "mesos.internal.UnregisterFrameworkMessage",
        ResourceRequest(internal::ResourceRequestMessage) = "mesos.internal.ResourceRequestMessage",
        LaunchTasks(internal::LaunchTasksMessage) = "mesos.internal.LaunchTasksMessage",
        ReviveOffers(internal::ReviveOffersMessage) = "mesos.internal.ReviveOffersMessage",
        KillTask(internal::KillTaskMessage) = "mesos.internal.KillTaskMessage",
        StatusUpdateAcknowledgement(internal::StatusUpdateAcknowledgementMessage)
            = "mesos.internal.StatusUpdateAcknowledgementMessage",
        ReconcileTasks(internal::ReconcileTasksMessage) = "mesos.internal.ReconcileTasksMessage",
    }
}

direction! {
    /// What the master sends to a scheduler driver. The driver understands `Event` too; no master
    /// sends it.
    MasterToScheduler {
        Event(scheduler::Event) = "mesos.scheduler.Event",
        FrameworkRegistered(internal::FrameworkRegisteredMessage)
            = "mesos.internal.FrameworkRegisteredMessage",
        FrameworkReregistered(internal::FrameworkReregisteredMessage)
            = "mesos.internal.FrameworkReregisteredMessage",
        ResourceOffers(internal::ResourceOffersMessage) = "mesos.internal.ResourceOffersMessage",
        RescindResourceOffer(internal::RescindResourceOfferMessage)
            = "mesos.internal.RescindResourceOfferMessage",
        StatusUpdate(internal::StatusUpdateMessage) = "mesos.internal.StatusUpdateMessage",
        LostSlave(internal::LostSlaveMessage) = "mesos.internal.LostSlaveMessage",
        ExitedExecutor(internal::ExitedExecutorMessage) = "mesos.internal.ExitedExecutorMessage",
        ExecutorToFramework(internal::ExecutorToFrameworkMessage)
            = "mesos.internal.ExecutorToFrameworkMessage",
        FrameworkError(internal::FrameworkErrorMessage) = "mesos.internal.FrameworkErrorMessage",
        AuthenticationError(internal::AuthenticationErrorMessage)
            = "mesos.internal.AuthenticationErrorMessage",
    }
}

direction! {
    /// What an executor driver sends to its agent.
    ExecutorToAgent {
        RegisterExecutor(internal::RegisterExecutorMessage)
            = "mesos.internal.RegisterExecutorMessage",
        ReregisterExecutor(internal::ReregisterExecutorMessage)
            = "mesos.internal.ReregisterExecutorMessage",
        StatusUpdate(internal::StatusUpdateMessage) = "mesos.internal.StatusUpdateMessage",
        ExecutorToFramework(internal::ExecutorToFrameworkMessage)
            = "mesos.internal.ExecutorToFrameworkMessage",
    }
}

direction! {
    /// What an agent sends to an executor driver.
    AgentToExecutor {
        ExecutorRegistered(internal::ExecutorRegisteredMessage)
            = "mesos.internal.ExecutorRegisteredMessage",
        ExecutorReregistered(internal::ExecutorReregisteredMessage)
            = "mesos.internal.ExecutorReregisteredMessage",
        ReconnectExecutor(internal::ReconnectExecutorMessage)
            = "mesos.internal.ReconnectExecutorMessage",
        RunTask(internal::RunTaskMessage, boxed) = "mesos.internal.RunTaskMessage",
        KillTask(internal::KillTaskMessage) = "mesos.internal.KillTaskMessage",
        StatusUpdateAcknowledgement(internal::StatusUpdateAcknowledgementMessage)
            = "mesos.internal.StatusUpdateAcknowledgementMessage",
        FrameworkToExecutor(internal::FrameworkToExecutorMessage)
            = "mesos.internal.FrameworkToExecutorMessage",
        ShutdownExecutor(internal::ShutdownExecutorMessage)
            = "mesos.internal.ShutdownExecutorMessage",
    }
}

direction! {
    /// The CRAM-MD5 handshake after `AuthenticateMessage`, in both directions, between an
    /// authenticatee actor of the peer and a session actor of the master.
    Authentication {
        Mechanisms(internal::AuthenticationMechanismsMessage)
            = "mesos.internal.AuthenticationMechanismsMessage",
        Start(internal::AuthenticationStartMessage) = "mesos.internal.AuthenticationStartMessage",
        Step(internal::AuthenticationStepMessage) = "mesos.internal.AuthenticationStepMessage",
        Completed(internal::AuthenticationCompletedMessage)
            = "mesos.internal.AuthenticationCompletedMessage",
        Failed(internal::AuthenticationFailedMessage)
            = "mesos.internal.AuthenticationFailedMessage",
        Error(internal::AuthenticationErrorMessage) = "mesos.internal.AuthenticationErrorMessage",
    }
}
