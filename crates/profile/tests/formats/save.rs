//! Saving to a file: whole, or not at all.

use std::fs;
use std::path::Path;

use wasmscope_profile::*;

use crate::fixture;

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_format_saves_and_leaves_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let names = [
        "a.folded",
        "a.json",
        "a.json.gz",
        "a.pb",
        "a.pb.gz",
        "a.svg",
    ];
    for name in names {
        let path = directory.path().join(name);
        let format = Format::from_path(&path).unwrap();
        fixture::profile().save(&path, format).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(
            bytes.starts_with(&[0x1f, 0x8b]),
            name.ends_with(".gz"),
            "{name}"
        );
    }
    assert_eq!(names_in(directory.path()), names);
}

#[test]
fn saving_replaces_a_file_and_follows_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("real.folded");
    let link = directory.path().join("link.folded");
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    fixture::profile().save(&link, Format::Folded).unwrap();
    assert!(link.is_symlink());
    assert_ne!(fs::read(&file).unwrap(), b"old");
    assert_eq!(names_in(directory.path()), ["link.folded", "real.folded"]);
}

#[test]
fn a_replaced_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.svg");
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    fixture::profile().save(&file, Format::Svg).unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_failing_writer_leaves_the_old_file_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.svg");
    fs::write(&file, "old").unwrap();
    let error = save_with(&file, |out| {
        out.write_all(&[0; 1 << 20]).unwrap();
        Err(Error::Write {
            format: "svg",
            source: std::io::ErrorKind::StorageFull.into(),
        })
    })
    .unwrap_err();
    assert!(error.to_string().contains("a.svg"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(names_in(directory.path()), ["a.svg"]);
}

#[test]
fn a_panicking_writer_leaves_the_old_file_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.svg");
    fs::write(&file, "old").unwrap();
    let result = std::panic::catch_unwind(|| save_with(&file, |_| panic!("as asked")));
    assert!(result.is_err());
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(names_in(directory.path()), ["a.svg"]);
}

#[test]
fn errors_name_the_file_as_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    for path in [
        directory.path().join("missing/a.svg"),
        directory.path().to_owned(),
        Path::new("").to_owned(),
    ] {
        let error = fixture::profile().save(&path, Format::Svg).unwrap_err();
        let Error::File { path: named, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*named, path);
        assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
    }
    assert!(names_in(directory.path()).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_that_names_it() {
    for format in Format::ALL {
        let error = fixture::profile().save("/dev/full", format).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/dev/full") && text.contains("space"),
            "{text}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_written_to_directly() {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    fixture::profile().save(&path, Format::Svg).unwrap();
    drop(writer);
    let bytes = reading.join().unwrap();
    assert!(bytes.ends_with(b"</svg>\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_is_redirected_to_a_file_is_added_to_not_replaced() {
    use std::os::fd::AsRawFd;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, b"the guest's own\n").unwrap();
    let as_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    fixture::profile()
        .save(as_descriptor, Format::Folded)
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"the guest's own\n[no stack] "));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_in_shared_memory_is_replaced_like_any_other() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = directory.path().join("a.folded");
    fs::write(&file, "old").unwrap();
    fixture::profile().save(&file, Format::Folded).unwrap();
    assert!(fs::read(&file).unwrap().starts_with(b"[no stack] "));
    assert_eq!(names_in(directory.path()), ["a.folded"]);
}
