//! What readers of traces rely on: every line is JSON, each close has its open, calls
//! nest within a stack, a trace that was cut short is still one.

use crate::fixture::{Bytes, builder, play};
use serde_json::Value;
use std::collections::HashMap;
use wasmscope_trace::{Format, Tracer};

fn trace(format: Format) -> String {
    let bytes = Bytes::default();
    play(&builder().format(format).write_to(bytes.clone()));
    bytes.text()
}

#[test]
fn each_close_has_its_open_and_calls_nest() {
    let mut stacks: HashMap<u64, Vec<u64>> = HashMap::new();
    let (mut opens, mut closes, mut time) = (0, 0, 0);
    for line in trace(Format::Json).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| event[name].as_u64().unwrap();
        assert!(number("time") >= time, "{line}");
        time = number("time");
        let stack = stacks.entry(number("stack")).or_default();
        if event["event"] == "open" {
            opens += 1;
            assert_eq!(number("id"), opens, "counted from 1");
            assert_eq!(number("depth"), stack.len() as u64, "{line}");
            stack.push(number("id"));
        } else {
            closes += 1;
            assert_eq!(stack.pop(), Some(number("id")), "{line}");
            assert_eq!(number("depth"), stack.len() as u64, "{line}");
        }
    }
    assert_eq!(opens, closes + 2, "two are left open by the fixture");
    assert!(opens > 60);
}

#[test]
fn text_and_json_tell_of_the_same_calls() {
    let json = trace(Format::Json);
    let text = trace(Format::Text);
    let ends = text.lines().filter(|line| {
        let marks = [" = ", " ! ", " => "];
        marks.iter().any(|mark| line.contains(mark))
    });
    let closes = json.matches("\"event\":\"close\"").count();
    assert_eq!(ends.count(), closes);
}

#[test]
fn chrome_is_json_and_a_prefix_of_it_needs_only_its_bracket() {
    let text = trace(Format::Chrome);
    let events: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut tracks: HashMap<u64, Vec<String>> = HashMap::new();
    for event in events.iter().skip(1) {
        let track = tracks.entry(event["tid"].as_u64().unwrap()).or_default();
        let name = event["name"].as_str().unwrap().to_owned();
        match event["ph"].as_str().unwrap() {
            "B" => track.push(name),
            "E" => assert_eq!(track.pop(), Some(name)),
            other => panic!("{other}"),
        }
    }
    // A trace that is cut between events, as by a killed program.
    let lines: Vec<&str> = text.lines().collect();
    for end in 2..lines.len() {
        let cut = lines[..end].join("\n");
        let cut = cut.trim_end_matches(',').to_owned() + "]";
        let events: Result<Vec<Value>, _> = serde_json::from_str(&cut);
        assert!(events.is_ok(), "{cut}");
    }
}

#[test]
fn an_empty_trace_is_one_too() {
    for (format, expected) in [(Format::Text, ""), (Format::Json, "")] {
        let bytes = Bytes::default();
        let tracer = Tracer::builder().format(format).write_to(bytes.clone());
        tracer.finish().unwrap();
        assert_eq!(bytes.text(), expected);
    }
    let bytes = Bytes::default();
    let chrome = Tracer::builder().format(Format::Chrome);
    chrome.write_to(bytes.clone()).finish().unwrap();
    let events: Vec<Value> = serde_json::from_str(&bytes.text()).unwrap();
    assert_eq!(events[0]["name"], "process_name");
}

#[test]
fn traces_of_one_guest_do_not_mix() {
    let (first, second) = (Bytes::default(), Bytes::default());
    let shallow = builder().depth(1).write_to(first.clone());
    let whole = builder().write_to(second.clone());
    let mut guest = wasmscope_listen::fake::Guest::new(
        [0, 1].map(|index| wasmscope_listen::Definition::guest(wasmscope_listen::FuncIndex(index))),
        &(shallow.clone(), whole.clone()),
    );
    let index = wasmscope_listen::FuncIndex;
    let ended = guest.call(index(0), &[], |guest| {
        guest.call(index(1), &[], |_| Ok(vec![]))
    });
    assert!(ended.is_ok());
    let one = shallow.finish().unwrap();
    let two = whole.finish().unwrap();
    assert_eq!((one.opens, one.closes), (1, 1));
    assert_eq!((two.opens, two.closes), (2, 2));
    assert_eq!(first.text(), "$0() = ()\n");
    assert_eq!(second.text(), "$0()\n  $1() = ()\n$0 = ()\n");
}
