//! A bounded run of the fuzz target, on bytes that look like pointers into themselves.

use wasmscope_trace::fuzz::fuzz_wasi;

#[test]
fn no_pointer_makes_the_decoder_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for length in (0..4000).map(|round| round % 400) {
        let mut data = Vec::new();
        while data.len() < length {
            let word = match random() % 8 {
                // Small numbers: pointers into the bytes, lengths, counts.
                0..=4 => (random() % 200) as u32,
                5 => u32::MAX - (random() % 16) as u32,
                6 => 0,
                _ => random() as u32,
            };
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.truncate(length);
        fuzz_wasi(&data);
    }
    fuzz_wasi(&[]);
    fuzz_wasi(&[0xff; 64]);
    fuzz_wasi(&[0; 4096]);
}
