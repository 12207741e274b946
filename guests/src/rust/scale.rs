//! The one argument that every Rust guest takes, SCALE (100, the default, is one or two seconds of
//! work), and the checksum that each prints.

pub fn scale() -> u32 {
    std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// One step of a checksum that depends on every value and on their order.
pub fn mix(sum: u64, value: u64) -> u64 {
    let sum = (sum ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    sum ^ (sum >> 29)
}

/// A small generator of pseudo-random numbers, so that runs are equal.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }
}
