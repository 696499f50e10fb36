//! Random faults that can be repeated.

/// SplitMix64.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice with the seed of the environment, else a new one; says which.
    pub(crate) fn thrown(test: &str) -> Self {
        let given = std::env::var("STREAMKEEPER_TEST_SEED").ok();
        let seed = match given {
            Some(seed) => seed.parse().expect("STREAMKEEPER_TEST_SEED is a number"),
            #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
            None => ulid::Ulid::generate().random() as u64,
        };
        println!("{test}: faults of STREAMKEEPER_TEST_SEED={seed}");
        Self(seed)
    }

    /// Dice with this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
