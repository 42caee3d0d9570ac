//! Commands of the DICOM network: elements of group 0000, implicit VR, little-endian.

/// A verification.
pub(super) const C_ECHO_RQ: u16 = 0x0030;
/// An image follows.
pub(super) const C_STORE_RQ: u16 = 0x0001;
/// Bit of an answer to a request.
const ANSWER: u16 = 0x8000;
/// `CommandDataSetType` of a command without data.
const NO_DATA: u16 = 0x0101;

const AFFECTED_CLASS: u16 = 0x0002;
const FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const ANSWERED_ID: u16 = 0x0120;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const AFFECTED_INSTANCE: u16 = 0x1000;

/// Status of an answer (PS3.4, annex B).
pub(super) const SUCCESS: u16 = 0x0000;
/// The image is not kept, for lack of room.
pub(super) const OUT_OF_RESOURCES: u16 = 0xa700;
/// This kind of request is not served.
pub(super) const UNRECOGNIZED: u16 = 0x0211;

/// Longest unique identifier.
const MAX_UID: usize = 64;

/// The values of a command that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) field: u16,
    pub(super) message_id: u16,
    pub(super) class_uid: String,
    pub(super) instance_uid: String,
}

impl Command {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut command = Self::default();
        let (mut has_field, mut has_id) = (false, false);
        while !bytes.is_empty() {
            let Some((head, rest)) = bytes.split_first_chunk::<8>() else {
                return Err(format!("found {} bytes after the last element", bytes.len()));
            };
            let [g0, g1, e0, e1, l0, l1, l2, l3] = *head;
            let (group, element) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            if group != 0 || length > rest.len() {
                return Err(format!(
                    "found element ({group:04x},{element:04x}) of {length} bytes, expected group \
                     0000 and at most {} bytes",
                    rest.len()
                ));
            }
            let (value, after) = rest.split_at(length);
            bytes = after;
            match element {
                FIELD => (command.field, has_field) = (number(value)?, true),
                MESSAGE_ID => (command.message_id, has_id) = (number(value)?, true),
                AFFECTED_CLASS => command.class_uid = uid(value)?,
                AFFECTED_INSTANCE => command.instance_uid = uid(value)?,
                _ => {}
            }
        }
        let is_answer = command.field & ANSWER != 0;
        if !has_field || !(has_id || is_answer) {
            return Err("found a command without field or message id".to_owned());
        }
        Ok(command)
    }

    /// The answer to this request.
    pub(super) fn answer(&self, status: u16) -> Vec<u8> {
        let mut elements = Vec::new();
        let mut put = |element: u16, value: &[u8]| {
            elements.extend(0_u16.to_le_bytes());
            elements.extend(element.to_le_bytes());
            elements.extend((value.len().next_multiple_of(2) as u32).to_le_bytes());
            elements.extend(value);
            elements.resize(elements.len().next_multiple_of(2), 0);
        };
        put(AFFECTED_CLASS, self.class_uid.as_bytes());
        put(FIELD, &(self.field | ANSWER).to_le_bytes());
        put(ANSWERED_ID, &self.message_id.to_le_bytes());
        put(DATA_SET_TYPE, &NO_DATA.to_le_bytes());
        put(STATUS, &status.to_le_bytes());
        if !self.instance_uid.is_empty() {
            put(AFFECTED_INSTANCE, self.instance_uid.as_bytes());
        }
        let mut command = vec![0, 0, 0, 0, 4, 0, 0, 0];
        command.extend((elements.len() as u32).to_le_bytes());
        command.extend(elements);
        command
    }
}

fn number(value: &[u8]) -> Result<u16, String> {
    let value = <[u8; 2]>::try_from(value);
    value.map(u16::from_le_bytes).map_err(|_| "found a number that is not 2 bytes".to_owned())
}

fn uid(value: &[u8]) -> Result<String, String> {
    let text: String =
        value.iter().map(|&byte| char::from(byte)).take_while(|c| *c != '\0').collect();
    let is_uid = text.len() <= MAX_UID && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_uid.then_some(text).ok_or_else(|| "found a UID with other characters than 0-9.".to_owned())
}

/// The beginning of a file (PS3.10): preamble and group 0002 for this object.
pub(super) fn file_meta(command: &Command, transfer_syntax: &str) -> Vec<u8> {
    let mut group = Vec::new();
    let mut ui = |element: u16, value: &str| {
        group.extend(2_u16.to_le_bytes());
        group.extend(element.to_le_bytes());
        group.extend(b"UI");
        group.extend((value.len().next_multiple_of(2) as u16).to_le_bytes());
        group.extend(value.as_bytes());
        group.resize(group.len().next_multiple_of(2), 0);
    };
    ui(0x0002, &command.class_uid);
    ui(0x0003, &command.instance_uid);
    ui(0x0010, transfer_syntax);
    // Ours, made from a random UUID (2.25).
    ui(0x0012, "2.25.88317350287325641209817302958150413312");
    let version = [2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1];
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend([2, 0, 0, 0, b'U', b'L', 4, 0]);
    file.extend(((version.len() + group.len()) as u32).to_le_bytes());
    file.extend(version);
    file.extend(group);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answer_have_the_elements_of_the_standard() {
        let request = Command {
            field: C_STORE_RQ,
            message_id: 7,
            class_uid: "1.2.840.10008.5.1.4.1.1.4".into(),
            instance_uid: "1.2.3".into(),
        };
        let answer = request.answer(SUCCESS);
        assert_eq!(
            answer.len(),
            12 + u32::from_le_bytes(answer[8..12].try_into().unwrap()) as usize
        );
        let read = Command::parse(&answer).unwrap();
        assert_eq!(read.field, 0x8001);
        assert_eq!((read.class_uid, read.instance_uid), (request.class_uid, request.instance_uid));
    }

    #[test]
    fn a_command_that_cannot_be_is_refused() {
        let element = |element: u16, length: u32, value: &[u8]| {
            [&[0, 0][..], &element.to_le_bytes(), &length.to_le_bytes(), value].concat()
        };
        for bytes in [
            vec![],
            vec![0; 7],
            element(FIELD, u32::MAX, &[]),
            element(FIELD, 4, &[0; 4]),
            element(FIELD, 2, &[1, 0]),
            [element(FIELD, 2, &[1, 0]), element(AFFECTED_INSTANCE, 2, b"..")].concat(),
            element(AFFECTED_INSTANCE, 4, b"../."),
        ] {
            let error = Command::parse(&bytes).unwrap_err();
            assert!(error.starts_with("found"), "{error}");
        }
    }
}
