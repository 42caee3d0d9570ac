//! An adapter that is restarted on a folder with very many files reaches the next volume at once:
//! it reads neither the files of earlier series nor known files again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use corticast_tests::{PlayedDaemon, Site, adapter, fixture, mosaic};
use corticast_wire::message::FromAdapter;

/// Files of earlier series. `LARGE_FOLDER` sets another number, for measurements.
fn n_earlier() -> usize {
    std::env::var("LARGE_FOLDER").ok().map_or(20_000, |n| n.parse().unwrap())
}

/// Names for one file; a file system allows some ten thousand names for each.
fn many_names(folder: &Path, bytes: &[u8], names: impl Iterator<Item = String>, age_s: u64) {
    const NAMES_A_FILE: usize = 20_000;
    let mut original = None;
    for (number, name) in names.enumerate() {
        let path = folder.join(name);
        match &original {
            Some(original) if number % NAMES_A_FILE != 0 => fs::hard_link(original, path).unwrap(),
            _ => {
                fs::write(&path, bytes).unwrap();
                let then = SystemTime::now() - Duration::from_secs(age_s);
                fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
                original = Some(path);
            }
        }
    }
}

#[test]
fn a_restart_on_a_large_folder_reads_little_and_finds_the_next_volume() {
    let site = Site::new(1);
    let (folder, outside) = (site.path("export"), site.path("outside"));
    fs::create_dir(&folder).unwrap();
    let n = n_earlier();
    let earlier = (0..n).map(|number| format!("001_000001_{number:06}.dcm"));
    many_names(&folder, &fixture("prisma"), earlier, 5000);
    for number in 1..6 {
        let name = format!("001_000002_{number:06}.dcm");
        many_names(&folder, &mosaic(number), [name].into_iter(), 100 - u64::from(number));
    }
    let mut daemon = PlayedDaemon::listen();
    let started = std::time::Instant::now();
    let flags = ["dicom", folder.to_str().unwrap()];
    let sending = adapter(&site, &daemon.endpoint(), &flags);
    let mut next_volume = |wanted: u32| {
        loop {
            match daemon.next_message() {
                FromAdapter::Run { header, .. } => daemon.accept(&header.run_id(), 0),
                FromAdapter::Volume(volume) => {
                    let index = volume.header.index.0;
                    daemon.ack(&volume.header.run, Some(index));
                    assert!(index <= wanted, "volume {index} before {wanted}");
                    if index == wanted {
                        return volume.header.run;
                    }
                }
                _ => {}
            }
        }
    };
    assert_eq!(next_volume(4), "sub-x_run-1", "no earlier series is a run");
    let to_last = started.elapsed();
    // The next volume is found by polling, because a hard link causes no other notification.
    fs::write(&outside, mosaic(6)).unwrap();
    fs::hard_link(&outside, folder.join("001_000002_000006.dcm")).unwrap();
    let linked = std::time::Instant::now();
    drop(next_volume(5));
    let (to_live, read) = (linked.elapsed(), sending.bytes_read());
    eprintln!("{n} files: backlog in {to_last:?}, next volume in {to_live:?}, {read} bytes read");
    // Some sixty headers of at most 128 KiB, and six files.
    assert!(read < 48 << 20, "{read} bytes were read of about {} MB", n * 308_462 / 1_000_000);

    // A file that is completed after it was given up is read again, found by polling alone.
    sending.kill();
    let whole = mosaic(7);
    fs::write(site.path("slow"), &whole[..50_000]).unwrap();
    fs::hard_link(site.path("slow"), folder.join("001_000002_000007.dcm")).unwrap();
    let flags = [&flags[..], &["--deadline-s", "0.05"]].concat();
    let sending = adapter(&site, &daemon.endpoint(), &flags);
    corticast_tests::wait_for("the incomplete file is given up", || {
        sending.log().contains("still incomplete").then_some(())
    });
    fs::write(site.path("slow"), &whole).unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&6) {
        match daemon.next_message() {
            FromAdapter::Run { header, .. } => daemon.accept(&header.run_id(), 0),
            FromAdapter::Volume(volume) => {
                daemon.ack(&volume.header.run, Some(volume.header.index.0));
                seen.push(volume.header.index.0);
            }
            _ => {}
        }
    }
}
