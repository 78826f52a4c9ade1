//! Bodies of libprocess messages and of HTTP calls. What is read once must be read again as the same
//! message after writing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Message, agent, executor, internal, master, scheduler, scheduler_v0};

fn check<M: Message + PartialEq + std::fmt::Debug>(body: &[u8]) {
    if let Ok(message) = M::decode(body) {
        let bytes = message.encode_to_vec();
        let again = M::decode(&bytes).expect("what was written is read");
        assert_eq!(again.encode_to_vec(), bytes);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((root, body)) = input.split_first() else { return };
    match root % 9 {
        0 => check::<scheduler::Call>(body),
        1 => check::<scheduler_v0::Call>(body),
        2 => check::<executor::Call>(body),
        3 => check::<master::Call>(body),
        4 => check::<agent::Call>(body),
        5 => check::<internal::ReregisterSlaveMessage>(body),
        6 => check::<internal::UpdateSlaveMessage>(body),
        7 => check::<internal::RunTaskGroupMessage>(body),
        _ => check::<scheduler::Event>(body),
    }
});
