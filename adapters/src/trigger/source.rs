//! Where triggers come from, as the command line says it.

use std::{fmt, path::PathBuf, str::FromStr};

/// Keys that count without one on the command line: what trigger boxes send most often.
const USUAL_KEYS: &str = "5t";

/// A source of triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerSource {
    /// Keys of the terminal in which the adapter runs, or bytes of its standard input.
    Keyboard(String),
    /// Keys of a Linux input device.
    Input {
        /// `/dev/input/event*`.
        device: PathBuf,
        /// Any of these characters.
        keys: String,
    },
    /// Bytes of a serial port.
    Serial {
        /// For example `/dev/ttyUSB0`.
        device: PathBuf,
        /// The byte of a trigger; `None`: any.
        byte: Option<u8>,
    },
    /// Samples of an LSL stream.
    Lsl {
        /// Name of the stream.
        name: String,
        /// The value of a trigger; `None`: any.
        value: Option<String>,
    },
}

const EXPECTED: &str = "expected keyboard[:KEY], input:DEVICE[:KEY], serial:DEVICE[:BYTE] or \
                        lsl:NAME[=VALUE]";

impl FromStr for TriggerSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let usual = || USUAL_KEYS.to_owned();
        match (kind, rest) {
            ("keyboard", "") => Ok(Self::Keyboard(usual())),
            ("keyboard", key) => one_key(key).map(Self::Keyboard).ok_or_else(|| {
                format!("found the key {key:?}, expected one character, e.g. keyboard:5")
            }),
            ("input" | "serial" | "lsl", "") => {
                Err(format!("found no name in {text:?}, {EXPECTED}"))
            }
            ("input", rest) => {
                let (device, key) = device(rest, |key| one_key(key).is_some());
                let keys = key.map_or_else(usual, str::to_owned);
                match keys.chars().find(|key| super::input::codes(*key).is_empty()) {
                    Some(key) => {
                        Err(format!("found the key {key:?}, expected a letter or a digit"))
                    }
                    None => Ok(Self::Input { device: device.into(), keys }),
                }
            }
            ("serial", rest) => {
                let (device, byte) = device(rest, |byte| one_byte(byte).is_some());
                Ok(Self::Serial { device: device.into(), byte: byte.and_then(one_byte) })
            }
            ("lsl", rest) => Ok(match rest.split_once('=') {
                Some((name, value)) => Self::Lsl { name: name.into(), value: Some(value.into()) },
                None => Self::Lsl { name: rest.into(), value: None },
            }),
            _ => Err(format!("found {text:?}, {EXPECTED}")),
        }
    }
}

/// A device, and what follows its last colon if that can be a key or a byte: names of devices by
/// their place (`/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0`) have colons of their own.
fn device(text: &str, is_value: impl Fn(&str) -> bool) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((device, value)) if is_value(value) && !device.is_empty() => (device, Some(value)),
        _ => (text, None),
    }
}

fn one_key(text: &str) -> Option<String> {
    let mut characters = text.chars();
    let key = characters.next().filter(|key| key.is_ascii() && !key.is_ascii_control())?;
    characters.next().is_none().then(|| key.to_string())
}

/// A byte, as a character or as `0x35`.
fn one_byte(text: &str) -> Option<u8> {
    match (text.strip_prefix("0x"), text.as_bytes()) {
        (Some(digits), _) => u8::from_str_radix(digits, 16).ok(),
        (None, [byte]) if byte.is_ascii_graphic() => Some(*byte),
        _ => None,
    }
}

impl fmt::Display for TriggerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = |keys: &str| {
            keys.chars().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(" or ")
        };
        match self {
            Self::Keyboard(found) => write!(f, "the keyboard, key {}", keys(found)),
            Self::Input { device, keys: found } => {
                write!(f, "{}, key {}", device.display(), keys(found))
            }
            Self::Serial { device, byte: Some(byte) } => {
                write!(f, "{}, byte {byte:#04x}", device.display())
            }
            Self::Serial { device, byte: None } => write!(f, "{}, any byte", device.display()),
            Self::Lsl { name, value: Some(value) } => {
                write!(f, "the LSL stream {name:?}, value {value:?}")
            }
            Self::Lsl { name, value: None } => write!(f, "the LSL stream {name:?}, any value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<TriggerSource>();
        assert_eq!(read("keyboard"), Ok(TriggerSource::Keyboard("5t".into())));
        assert_eq!(read("keyboard:s"), Ok(TriggerSource::Keyboard("s".into())));
        let serial = |device: &str, byte| TriggerSource::Serial { device: device.into(), byte };
        assert_eq!(read("serial:/dev/ttyS0"), Ok(serial("/dev/ttyS0", None)));
        assert_eq!(read("serial:/dev/ttyS0:5"), Ok(serial("/dev/ttyS0", Some(b'5'))));
        assert_eq!(read("serial:/dev/ttyS0:0xff"), Ok(serial("/dev/ttyS0", Some(255))));
        let by_path = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0";
        assert_eq!(read(&format!("serial:{by_path}")), Ok(serial(by_path, None)));
        assert_eq!(read(&format!("serial:{by_path}:T")), Ok(serial(by_path, Some(b'T'))));
        let input = TriggerSource::Input { device: "/dev/input/event3".into(), keys: "t".into() };
        assert_eq!(read("input:/dev/input/event3:t"), Ok(input));
        let lsl = |value: Option<&str>| TriggerSource::Lsl {
            name: "Markers: MR".into(),
            value: value.map(str::to_owned),
        };
        assert_eq!(read("lsl:Markers: MR"), Ok(lsl(None)));
        assert_eq!(read("lsl:Markers: MR=5"), Ok(lsl(Some("5"))));
        for invalid in ["", "keyboard:55", "keyboard:é", "serial:", "input:", "lsl:", "parallel:1"]
        {
            assert!(read(invalid).unwrap_err().contains("expected"), "{invalid}");
        }
    }
}
