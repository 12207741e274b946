//! Damaged input: an error, never a panic, and never more memory than allowed.

use wasmscope_profile::folded::Unit;
use wasmscope_profile::*;

use crate::fixture;

fn pprof_bytes(compress: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    fixture::profile()
        .write(Format::Pprof, compress, &mut bytes)
        .unwrap();
    bytes
}

#[test]
fn every_truncation_of_pprof_is_handled() {
    let whole = pprof_bytes(false);
    let mut errors = 0;
    for length in 0..whole.len() {
        if let Err(error) = pprof::read(&whole[..length]) {
            errors += 1;
            if let Error::Damaged { offset, .. } = error {
                assert!(offset <= length as u64);
            }
        }
    }
    // A protocol buffer has no end mark: cut between two fields it is whole, if it
    // names nothing that is gone.
    assert!(errors > whole.len() * 9 / 10, "{errors} of {}", whole.len());
    let compressed = pprof_bytes(true);
    for length in 2..compressed.len() {
        let error = pprof::read(&compressed[..length]).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

#[test]
fn errors_say_where() {
    let error = |bytes: &[u8]| pprof::read(bytes).unwrap_err().to_string();
    // Field 6 (a text) of 5 bytes, of which there are 2.
    let text = error(b"\x32\x00\x32\x05ab");
    assert!(
        text.contains("at byte 4") && text.contains("5 bytes"),
        "{text}"
    );
    // A text that is not UTF-8 in its second byte.
    assert!(error(b"\x32\x00\x32\x02a\xff").contains("at byte 5"));
    // A kind of field that does not exist.
    assert!(error(b"\x32\x00\x37").contains("at byte 2"));
    let unfinished = error(&[0x80; 3]);
    assert!(
        unfinished.contains("ends within a number, at byte 3"),
        "{unfinished}"
    );
    assert!(error(&[0x80; 30]).contains("longer than 64 bits, at byte 0"));
    // Nothing at all, and no profile at all.
    assert!(error(b"").contains("neither samples nor time"));
    assert!(pprof::read(b"<html>").is_err());
    let gzip = error(b"\x1f\x8b\x08\x00garbage-that-is-not-deflate");
    assert!(gzip.contains("gzip") && gzip.contains("at byte"), "{gzip}");
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        gzip.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let error = pprof::read(&bomb).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                limit: pprof::LIMIT,
                ..
            }
        ),
        "{error}"
    );
    let whole = pprof_bytes(false);
    let exact = whole.len() as u64;
    assert!(pprof::read_with_limit(&whole, exact).is_ok());
    assert!(pprof::read_with_limit(&whole, exact - 1).is_err());
    assert!(pprof::read_with_limit(&pprof_bytes(true), exact).is_ok());
    assert!(pprof::read_with_limit(&pprof_bytes(true), exact - 1).is_err());
}

#[test]
fn a_long_text_that_many_entries_share_is_not_copied_for_each() {
    fn field(number: u8, content: &[u8], out: &mut Vec<u8>) {
        out.push(number << 3 | 2);
        let mut length = content.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(content);
    }
    let mut bytes = Vec::new();
    for text in [&b""[..], b"samples", b"count", &[b'x'; 100_000]] {
        field(6, text, &mut bytes);
    }
    field(1, &[0x08, 1, 0x10, 2], &mut bytes);
    // Functions and locations 1 to 10,000, each function with the long name and,
    // so that they are not equal, a line of its own.
    for id in 1..=10_000_u32 {
        let (low, high) = (id as u8 | 0x80, (id >> 7) as u8);
        field(5, &[0x08, low, high, 0x10, 3, 0x28, low, high], &mut bytes);
        field(4, &[0x08, low, high, 0x22, 3, 0x08, low, high], &mut bytes);
    }
    let error = pprof::read(&bytes).unwrap_err().to_string();
    assert!(error.contains("repeats long texts"), "{error}");
}

#[test]
fn what_pprof_refers_to_must_be_there() {
    let error = |bytes: &[u8]| pprof::read(bytes).unwrap_err().to_string();
    let head = b"\x32\x00\x32\x07samples\x32\x05count\x0a\x04\x08\x01\x10\x02";
    let with = |rest: &[u8]| [&head[..], rest].concat();
    assert!(pprof::read(&with(b"")).is_ok());
    let sample = error(&with(b"\x12\x04\x08\x09\x10\x01"));
    assert!(
        sample.contains("location 9, which is not there"),
        "{sample}"
    );
    let values = error(&with(b"\x12\x02\x08\x09"));
    assert!(values.contains("0 values for 1 types"), "{values}");
    let function = error(&with(b"\x22\x06\x08\x01\x22\x02\x08\x07"));
    assert!(
        function.contains("function 7, which is not there"),
        "{function}"
    );
    let mapping = error(&with(b"\x22\x04\x08\x01\x10\x05"));
    assert!(
        mapping.contains("mapping 5, which is not there"),
        "{mapping}"
    );
    let twice = error(&with(b"\x22\x02\x08\x01\x22\x02\x08\x01"));
    assert!(twice.contains("two locations have the id 1"), "{twice}");
    let text = error(&with(b"\x68\x63"));
    assert!(text.contains("no text 99"), "{text}");
    let negative = error(&with(
        b"\x12\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ));
    assert!(negative.contains("negative"), "{negative}");
}

#[test]
fn folded_errors_say_where() {
    let read = |text: &[u8]| folded::read(text, Unit::Samples, fixture::meta());
    let error = |text: &[u8]| read(text).unwrap_err().to_string();
    assert!(error(b"a;b 1\nnovalue\n").contains("at byte 6"));
    assert!(error(b"a;b 1\nc x\n").contains("at byte 8"));
    assert!(error(b"a 1\na -5").contains("at byte 6"));
    assert!(error(b"a 18446744073709551616").contains("at byte 2"));
    assert!(error(b"a 1\nb\xff 1\n").contains("at byte 5"));
    assert_eq!(read(b"").unwrap().samples().len(), 0);
    assert_eq!(read(b"\r\n \na b 3\r\n\nc 4").unwrap().total().count, 7);
}
