//! Work whose instructions `cargo xtask gate` counts: `instructions KERNEL`.

mod message;

use protocol::internal::ReregisterSlaveMessage;
use protocol::{Message as _, Names};

/// The counter runs while this function does: `--toggle-collect` names it.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    run();
}

fn main() {
    let message = message::reregistration(100);
    let bytes = message.encode_to_vec();
    let json = message.to_json(Names::V1);
    // Cargo adds arguments of its own.
    let kernel = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match kernel.as_deref() {
        Some("encode-protobuf") => measured(&mut || assert_eq!(message.encode_to_vec(), bytes)),
        Some("decode-protobuf") => measured(&mut || {
            assert!(ReregisterSlaveMessage::decode(&bytes).is_ok());
        }),
        Some("write-json") => measured(&mut || assert_eq!(message.to_json(Names::V1), json)),
        Some("read-json") => measured(&mut || {
            assert!(ReregisterSlaveMessage::from_json(json.as_bytes(), Names::V1).is_ok());
        }),
        Some(_) | None => {}
    }
}
