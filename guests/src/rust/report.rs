//! The demo: what a small service does all day. It makes log lines as JSON, parses them, groups
//! them by user, sorts, compresses and hashes a report. Every stage is a function with a name.

mod scale;

use scale::{mix, Random};
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::BuildHasherDefault;

/// FNV-1a, since the standard hasher starts from random keys.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { bytes: text.as_bytes(), at: 0 }
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    #[inline(never)]
    fn parse_value(&mut self) -> Option<Json> {
        self.skip_space();
        match *self.bytes.get(self.at)? {
            b'{' => self.parse_object(),
            b'[' => self.parse_list(),
            b'"' => self.parse_text().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.parse_number(),
        }
    }

    #[inline(never)]
    fn parse_object(&mut self) -> Option<Json> {
        self.take(b'{')?;
        let mut members = Vec::new();
        if self.take(b'}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.parse_text()?;
            self.take(b':')?;
            members.push((name, self.parse_value()?));
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Json::Object(members));
            }
        }
    }

    #[inline(never)]
    fn parse_list(&mut self) -> Option<Json> {
        self.take(b'[')?;
        let mut items = Vec::new();
        if self.take(b']').is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.parse_value()?);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Json::List(items));
            }
        }
    }

    #[inline(never)]
    fn parse_text(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut text = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => {
                    text.push(*self.bytes.get(self.at)?);
                    self.at += 1;
                }
                byte => text.push(byte),
            }
        }
    }

    #[inline(never)]
    fn parse_number(&mut self) -> Option<Json> {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9' | b'-' | b'.')) {
            self.at += 1;
        }
        std::str::from_utf8(&self.bytes[start..self.at]).ok()?.parse().ok().map(Json::Number)
    }
}

struct Request {
    user: String,
    path: String,
    micros: u64,
    failed: bool,
}

#[inline(never)]
fn write_log(random: &mut Random, lines: u32) -> String {
    const PATHS: [&str; 6] = ["/", "/login", "/search", "/cart", "/pay", "/a \\\"b\\\""];
    let mut log = String::from("[");
    for line in 0..lines {
        if line > 0 {
            log.push_str(",\n");
        }
        let (user, path) = (random.below(97), random.below(6) as usize);
        let (micros, failed) = (random.below(90_000), random.below(20) == 0);
        write!(
            log,
            r#"{{"user": "user-{user}", "path": "{}", "micros": {micros}, "failed": {failed}, "tags": ["a", {line}, null]}}"#,
            PATHS[path]
        )
        .unwrap();
    }
    log.push(']');
    log
}

#[inline(never)]
fn read_requests(json: Json) -> Vec<Request> {
    let items = if let Json::List(items) = json { items } else { Vec::new() };
    let read = |item| {
        let members = if let Json::Object(members) = item { members } else { Vec::new() };
        let mut request = Request { user: String::new(), path: String::new(), micros: 0, failed: false };
        for (name, value) in members {
            match (name.as_str(), value) {
                ("user", Json::Text(text)) => request.user = text,
                ("path", Json::Text(text)) => request.path = text,
                ("micros", Json::Number(number)) => request.micros = number as u64,
                ("failed", Json::Bool(failed)) => request.failed = failed,
                _ => {}
            }
        }
        request
    };
    items.into_iter().map(read).collect()
}

#[inline(never)]
fn group_by_user(requests: Vec<Request>) -> HashMap<String, Vec<Request>, BuildHasherDefault<Fnv>> {
    let mut groups: HashMap<String, Vec<Request>, BuildHasherDefault<Fnv>> = HashMap::default();
    for request in requests {
        groups.entry(request.user.clone()).or_default().push(request);
    }
    groups
}

#[inline(never)]
fn sort_by_time(requests: &mut Vec<Request>) {
    requests.sort_by(|a, b| b.micros.cmp(&a.micros).then_with(|| a.path.cmp(&b.path)));
}

#[inline(never)]
fn summarise(groups: HashMap<String, Vec<Request>, BuildHasherDefault<Fnv>>) -> String {
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = String::new();
    for (user, mut requests) in groups {
        sort_by_time(&mut requests);
        let failed = requests.iter().filter(|request| request.failed).count();
        writeln!(text, "{user}: {} requests, {failed} failed", requests.len()).unwrap();
        for request in requests.iter().take(10) {
            writeln!(text, "  {:>7} us {}", request.micros, request.path).unwrap();
        }
    }
    text
}

/// A small LZ77: the last place of each hash of four bytes is where a match may be.
#[inline(never)]
fn compress(input: &[u8]) -> Vec<u8> {
    let mut last = vec![usize::MAX; 1 << 12];
    let mut output = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let length = find_match(input, at, &mut last).filter(|found| found.1 >= 4);
        if let Some((from, length)) = length {
            output.extend_from_slice(&[255, (at - from) as u8, ((at - from) >> 8) as u8, length as u8]);
            at += length;
        } else {
            output.push(input[at]);
            at += 1;
        }
    }
    output
}

#[inline(never)]
fn find_match(input: &[u8], at: usize, last: &mut [usize]) -> Option<(usize, usize)> {
    let four = input.get(at..at + 4)?;
    let four = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    let slot = (four.wrapping_mul(2_654_435_761) >> 20) as usize;
    let from = std::mem::replace(&mut last[slot], at);
    if from == usize::MAX || at - from > 65_535 {
        return None;
    }
    let same = input[at..].iter().zip(&input[from..]).take(255).take_while(|(a, b)| a == b).count();
    Some((from, same))
}

/// SHA-256 (FIPS 180-4).
#[inline(never)]
fn sha256(input: &[u8]) -> [u32; 8] {
    let mut state = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ];
    let mut padded = input.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8 + 63) / 64 * 64 - 8, 0);
    padded.extend_from_slice(&(input.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        sha256_block(&mut state, block);
    }
    state
}

#[inline(never)]
fn sha256_block(state: &mut [u32; 8], block: &[u8]) {
    const K: [u32; 64] = round_constants();
    let mut w = [0u32; 64];
    for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for i in 16..64 {
        let a = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
        let b = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16].wrapping_add(a).wrapping_add(w[i - 7]).wrapping_add(b);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for i in 0..64 {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let t1 = h.wrapping_add(s1).wrapping_add((e & f) ^ (!e & g)).wrapping_add(K[i]).wrapping_add(w[i]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(add);
    }
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const fn round_constants() -> [u32; 64] {
    let mut constants = [0; 64];
    let (mut found, mut candidate) = (0, 2u128);
    while found < 64 {
        let (mut divisor, mut prime) = (2, true);
        while divisor * divisor <= candidate {
            prime = prime && candidate % divisor != 0;
            divisor += 1;
        }
        if prime {
            let (mut low, mut high) = (0u128, 1u128 << 36);
            while high - low > 1 {
                let middle = (low + high) / 2;
                if middle * middle * middle <= candidate << 96 {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            constants[found] = low as u32;
            found += 1;
        }
        candidate += 1;
    }
    constants
}

#[inline(never)]
fn make_report(random: &mut Random) -> [u32; 8] {
    let log = write_log(random, 1000);
    let json = Parser::new(&log).parse_value().expect("the log is JSON");
    let report = summarise(group_by_user(read_requests(json)));
    let small = compress(report.as_bytes());
    assert!(small.len() < report.len());
    sha256(&small)
}

fn main() {
    assert_eq!(sha256(b"abc")[0], 0xba78_16bf);
    let mut random = Random(88_172_645_463_325_252);
    let mut sum = 0;
    for _ in 0..scale::scale() * 10 {
        sum = make_report(&mut random).iter().fold(sum, |sum, word| mix(sum, u64::from(*word)));
    }
    println!("report {sum:016x}");
}
