//! Damaged input: every decoder gives a value or an error, never a panic.

use prost_reflect::prost::Message as _;

use super::arbitrary::{Generator, definitions};
use crate::generated::registry::MESSAGES;
use crate::recordio::Decoder;
use crate::{Names, bytes, duration, pid::Pid, uuid::Uuid};

/// Flips, cuts, doubles or overwrites a few bytes.
fn damage(generator: &mut Generator, input: &mut Vec<u8>) {
    for _ in 0..=generator.below(3) {
        let length = input.len();
        let position = usize::try_from(generator.below(length as u64 + 1)).unwrap();
        let byte = u8::try_from(generator.below(256)).unwrap();
        match generator.below(5) {
            0 if position < length => input[position] ^= 1 << (byte % 8),
            1 if position < length => input[position] = byte,
            2 => input.truncate(position),
            3 => input.insert(position, byte),
            _ => input.extend_from_within(position..(position + 16).min(length)),
        }
    }
}

#[test]
fn damaged_messages_do_not_panic() {
    let pool = definitions();
    let mut outcomes = [0_u32; 2];
    for (seed, entry) in (0..).zip(MESSAGES) {
        let descriptor = pool.get_message_by_name(entry.name).unwrap();
        let mut generator = Generator::new(seed);
        let original = generator.message(&descriptor, 0).encode_to_vec();
        for _ in 0..20 {
            let mut input = original.clone();
            damage(&mut generator, &mut input);
            match (entry.reencode)(&input) {
                // What was read once is read again as the same message.
                Ok(once) => {
                    assert_eq!((entry.reencode)(&once).unwrap(), once, "{}", entry.name);
                    outcomes[0] += 1;
                }
                Err(_) => outcomes[1] += 1,
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 500), "{outcomes:?}");
}

#[test]
fn damaged_json_does_not_panic() {
    let pool = definitions();
    for (seed, entry) in (0..).zip(MESSAGES) {
        let descriptor = pool.get_message_by_name(entry.name).unwrap();
        let mut generator = Generator::new(seed);
        let message = generator.message(&descriptor, 1).encode_to_vec();
        let original = (entry.to_json)(&message, Names::V1).unwrap();
        for _ in 0..10 {
            let mut input = original.clone().into_bytes();
            damage(&mut generator, &mut input);
            if let Ok(bytes) = (entry.from_json)(&input, Names::V1) {
                assert!((entry.reencode)(&bytes).is_ok(), "{}", entry.name);
            }
        }
    }
}

#[test]
fn damaged_texts_do_not_panic() {
    let mut generator = Generator::new(1);
    let texts = ["slave(1)@10.0.0.1:5051", "1.5weeks", "16GB", "5\nhello12\n"];
    for round in 0..4000 {
        let mut input = texts[round % texts.len()].as_bytes().to_vec();
        damage(&mut generator, &mut input);
        drop(Decoder::new(1 << 20).decode(&input));
        let text = String::from_utf8_lossy(&input);
        if let Ok(pid) = text.parse::<Pid>() {
            assert_eq!(pid.to_string().parse(), Ok(pid));
        }
        if let Ok(amount) = bytes::parse(&text) {
            assert_eq!(bytes::parse(&bytes::format(amount)), Ok(amount));
        }
        drop((duration::parse(&text), text.parse::<Uuid>()));
    }
}
