//! Triggers as keys of a Linux input device: a trigger box that shows itself as a USB keyboard.
//!
//! Unlike keys of the terminal they arrive whatever window is in front. Only presses count, neither
//! releases nor repeats. Events have 24 bytes on 64-bit machines: two 8-byte numbers of time, then
//! type and code (`u16`), and value (`i32`). Source: Linux `include/uapi/linux/input.h`.

use std::{fs::File, io, path::PathBuf};

use super::{
    Edges,
    device::{Decode, read, unusable},
};

/// Bytes of an event.
const EVENT: usize = 24;
/// Type of a key's event.
const EV_KEY: u16 = 1;
/// Value of a press.
const PRESS: i32 = 1;

/// Letters in the order of their codes, with the code of the first of each row.
const ROWS: [(u16, &str); 4] =
    [(2, "1234567890-="), (16, "qwertyuiop"), (30, "asdfghjkl"), (44, "zxcvbnm")];
/// Codes of the digits of the keypad, from 0.
const KEYPAD: [u16; 10] = [82, 79, 80, 81, 75, 76, 77, 71, 72, 73];

/// The codes of a key: of its place on a US keyboard, and on the keypad.
pub(super) fn codes(key: char) -> Vec<u16> {
    let key = key.to_ascii_lowercase();
    let row = ROWS.iter().find_map(|(first, row)| Some(first + row.find(key)? as u16));
    let keypad = key.to_digit(10).map(|digit| KEYPAD[digit as usize]);
    let space = (key == ' ').then_some(57);
    [row, keypad, space].into_iter().flatten().collect()
}

/// Counts presses of keys.
struct Presses {
    codes: Vec<u16>,
    /// The beginning of an event.
    rest: Vec<u8>,
}

impl Decode for Presses {
    fn edges(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / EVENT * EVENT;
        let is_press = |event: &&[u8; EVENT]| {
            let number = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
            let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
            number(16) == EV_KEY && value == PRESS && self.codes.contains(&number(18))
        };
        let n = self.rest[..whole].as_chunks::<EVENT>().0.iter().filter(is_press).count();
        self.rest.drain(..whole);
        n
    }

    fn restart(&mut self) {
        self.rest.clear();
    }
}

/// What reads the input device; any of `keys` is a trigger.
pub(super) fn open(device: PathBuf, keys: String) -> io::Result<Box<dyn FnOnce(Edges) + Send>> {
    let name = device.display().to_string();
    let file = File::open(&device).map_err(|error| {
        unusable(&name, &error, "add the user to the group `input`, or change its udev rule")
    })?;
    let mut presses = Presses { codes: keys.chars().flat_map(codes).collect(), rest: Vec::new() };
    Ok(Box::new(move |mut edges| {
        read(file, &name, || File::open(&device), &mut presses, &mut edges);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![7; 16];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn keys_have_the_codes_of_linux() {
        // KEY_5, KEY_KP5; KEY_T; KEY_EQUAL; KEY_SPACE; KEY_M
        assert_eq!(codes('5'), [6, 76]);
        assert_eq!((codes('t'), codes('T')), (vec![20], vec![20]));
        assert_eq!((codes('='), codes(' '), codes('m')), (vec![13], vec![57], vec![50]));
        assert!(codes('€').is_empty());
    }

    #[test]
    fn presses_count_and_releases_repeats_and_other_keys_do_not() {
        let mut presses = Presses { codes: codes('5'), rest: Vec::new() };
        let press = event(EV_KEY, 6, PRESS);
        let other = [event(EV_KEY, 6, 0), event(EV_KEY, 6, 2), event(EV_KEY, 7, 1), event(0, 6, 1)];
        assert_eq!(presses.edges(&[other.concat(), press.clone()].concat()), 1);
        // In two reads.
        assert_eq!(presses.edges(&press[..20]), 0);
        assert_eq!(presses.edges(&press[20..]), 1);
        presses.edges(&press[..20]);
        presses.restart();
        assert_eq!(presses.edges(&press), 1);
    }
}
