//! Profiles with nothing in them, or almost.

use std::time::SystemTime;

use wasmscope_profile::*;

#[test]
fn a_profile_without_threads_can_be_written_in_every_format() {
    let mut profile = Profile::new(Meta::new("", SystemTime::UNIX_EPOCH));
    // Nothing to show it under.
    profile.add_counter(Counter::default());
    for format in Format::ALL {
        for compress in [false, true] {
            let mut bytes = Vec::new();
            profile.write(format, compress, &mut bytes).unwrap();
        }
    }
}

#[test]
fn a_location_without_lines_has_a_frame() {
    let mut profile = Profile::new(Meta::new("", SystemTime::UNIX_EPOCH));
    let location = profile.add_location(Location {
        mapping: None,
        address: Some(7),
        lines: Vec::new(),
    });
    let stack = profile.add_stack(None, location);
    let frame = profile.stack_frames(stack).next().unwrap();
    assert_eq!(profile.function(frame.function).name, "[unknown]");
}

#[test]
fn a_start_before_1970_is_kept_by_pprof_and_does_not_stop_the_others() {
    let start = SystemTime::UNIX_EPOCH - std::time::Duration::from_nanos(5);
    let profile = Profile::new(Meta::new("old", start));
    for format in Format::ALL {
        profile.write(format, false, &mut Vec::new()).unwrap();
    }
    let mut bytes = Vec::new();
    profile.write(Format::Pprof, false, &mut bytes).unwrap();
    assert_eq!(pprof::read(&bytes).unwrap().meta().start, start);
}

#[test]
fn a_stack_of_a_hundred_thousand_frames_is_written_in_every_format() {
    let mut profile = Profile::new(Meta::new("deep", SystemTime::UNIX_EPOCH));
    let thread = profile.add_thread(Thread::default());
    let function = profile.add_function(Function {
        name: "f".to_owned(),
        ..Function::default()
    });
    let location = profile.add_location(Location {
        mapping: None,
        address: None,
        lines: vec![Line {
            function,
            line: None,
            column: None,
        }],
    });
    let mut stack = None;
    for _ in 0..100_000 {
        stack = Some(profile.add_stack(stack, location));
    }
    profile.add_sample(Sample {
        thread,
        time: std::time::Duration::ZERO,
        stack,
        count: 1,
        weight: std::time::Duration::from_nanos(1),
        cpu: None,
        labels: LabelsHandle::EMPTY,
    });
    for format in Format::ALL {
        let mut bytes = Vec::new();
        profile.write(format, false, &mut bytes).unwrap();
        match format {
            Format::Folded => assert_eq!(bytes.len(), 200_002),
            Format::Svg => {
                let svg = String::from_utf8(bytes).unwrap();
                assert!(svg.contains("99000 frames below 1000 not drawn"));
            }
            Format::Pprof => {
                let read = pprof::read(&bytes).unwrap();
                assert_eq!(read.stacks().len(), 100_000);
            }
            _ => {}
        }
    }
}
