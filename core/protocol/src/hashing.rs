//! A quick hash for the keys of tables, which are ids most of all.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// Makes [`IdHasher`]s, all of one process from one seed.
///
/// The seed differs between processes, so that nobody outside can choose ids that collide. Whatever
/// depends on hashes must therefore not depend on their order: tables are to be walked in an order of
/// their own.
#[derive(Clone, Copy, Debug)]
pub struct IdHashing(u64);

impl Default for IdHashing {
    fn default() -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));
        Self(*SEED)
    }
}

impl BuildHasher for IdHashing {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(self.0)
    }
}

/// Multiplies words of the key with what it has so far, and folds the two halves of the product into one
/// another. The method is that of wyhash (Wang Yi, <https://github.com/wangyi-fudan/wyhash>): several times
/// quicker than `SipHash` on keys of this length, and good enough for tables. It is no cryptographic hash.
#[derive(Clone, Copy, Debug)]
pub struct IdHasher(u64);

/// Odd constants with as many ones as zeros, in no pattern: the digits of pi and of e.
const FIRST: u64 = 0x2437_6a89_85a3_08d3;
const SECOND: u64 = 0xb7e1_5162_8aed_2a6b;

impl IdHasher {
    fn mix(&mut self, low: u64, high: u64) {
        let product = u128::from(low ^ self.0 ^ FIRST) * u128::from(high ^ SECOND);
        #[expect(clippy::cast_possible_truncation, reason = "one half, then the other")]
        let (lower, upper) = (product as u64, (product >> 64) as u64);
        self.0 = lower ^ upper;
    }
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.write_usize(bytes.len());
        let mut rest = bytes;
        while let Some((pair, after)) = rest.split_first_chunk::<16>() {
            let pair = u128::from_le_bytes(*pair);
            #[expect(clippy::cast_possible_truncation, reason = "one half, then the other")]
            let (low, high) = (pair as u64, (pair >> 64) as u64);
            self.mix(low, high);
            rest = after;
        }
        if rest.is_empty() {
            return;
        }
        // The words of a short rest overlap.
        let (low, high) = if let Some((first, _)) = rest.split_first_chunk::<8>()
            && let Some((_, last)) = rest.split_last_chunk::<8>()
        {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let Some((first, _)) = rest.split_first_chunk::<4>()
            && let Some((_, last)) = rest.split_last_chunk::<4>()
        {
            (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
        } else {
            (rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        };
        self.mix(low, high);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value, value.rotate_left(32));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.cast_unsigned() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    use super::IdHashing;
    use crate::mesos::AgentId;

    #[test]
    fn ids_that_begin_alike_spread_over_all_bits() {
        let hash = |number: u32| {
            let value = format!("0b2e6a1c-7d44-4f0e-9a53-5a1c2f3e4d5b-S{number}");
            IdHashing(7).hash_one(AgentId { value, ..Default::default() })
        };
        let hashes: Vec<u64> = (0..1 << 14).map(hash).collect();
        for shift in [0, 7, 21, 35, 50] {
            // As many buckets as ids: about 1 - 1/e of them are used when ids fall at random.
            let used: BTreeSet<u64> = hashes.iter().map(|it| (it >> shift) & 0x3fff).collect();
            assert!((10_200..10_510).contains(&used.len()), "{} from bit {shift}", used.len());
        }
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let mut seen = BTreeSet::new();
        for length in 0..70 {
            let text = "x".repeat(length);
            assert!(seen.insert(IdHashing(7).hash_one(&text)), "length {length}");
            for position in 0..length {
                let mut changed = text.clone().into_bytes();
                changed[position] = b'y';
                let changed = String::from_utf8(changed).unwrap();
                assert!(seen.insert(IdHashing(7).hash_one(&changed)), "{position} of {length}");
            }
        }
        assert_ne!(IdHashing(7).hash_one("x"), IdHashing(8).hash_one("x"));
    }
}
