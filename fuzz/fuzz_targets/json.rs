//! JSON bodies of HTTP calls. What is read once must be read again after writing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Message, Names, agent, executor, master, scheduler};

fn check<M: Message>(body: &[u8], names: Names) {
    if let Ok(message) = M::from_json(body, names) {
        let text = message.to_json(names);
        let again = M::from_json(text.as_bytes(), names).expect("what was written is read");
        assert_eq!(again.to_json(names), text);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((root, body)) = input.split_first() else { return };
    let names = if root & 0x80 == 0 { Names::V1 } else { Names::V0 };
    match root % 4 {
        0 => check::<scheduler::Call>(body, names),
        1 => check::<executor::Call>(body, names),
        2 => check::<master::Call>(body, names),
        _ => check::<agent::Call>(body, names),
    }
});
