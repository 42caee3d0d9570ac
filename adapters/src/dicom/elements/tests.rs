use super::*;
use proptest::prelude::*;

/// A file of the given transfer syntax whose elements are these bytes.
fn file(syntax: &str, elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM\x02\x00\x10\x00UI");
    bytes.extend((syntax.len() as u16).to_le_bytes());
    bytes.extend(syntax.as_bytes());
    bytes.extend(elements);
    bytes
}

fn tags(bytes: &[u8]) -> Result<Vec<u32>, DicomError> {
    let mut elements = Elements::of_file(bytes)?.0;
    let mut tags = Vec::new();
    while let Some(element) = elements.next()? {
        tags.push(element.tag);
    }
    Ok(tags)
}

#[test]
fn nested_sequences_of_undefined_length_are_stepped_over() {
    let mut elements = Vec::new();
    elements.extend(b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"); // sequence
    elements.extend(b"\xfe\xff\x00\xe0\xff\xff\xff\xff"); // item
    elements.extend(b"\x08\x00\x50\x11SQ\0\0\xff\xff\xff\xff"); // sequence inside
    elements.extend(b"\xfe\xff\x00\xe0\x04\0\0\0abcd"); // item of four bytes
    elements.extend(b"\xfe\xff\xdd\xe0\0\0\0\0\xfe\xff\x0d\xe0\0\0\0\0");
    elements.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    elements.extend(b"\x20\x00\x12\x00IS\x02\x001 ");
    let bytes = file("1.2.840.10008.1.2.1", &elements);
    assert_eq!(tags(&bytes), Ok(vec![0x0008_1140, 0x0020_0012]));
}

#[test]
fn implicit_elements_are_read() {
    let bytes = file("1.2.840.10008.1.2\0", b"\x20\x00\x12\x00\x02\0\0\x001 ");
    let mut elements = Elements::of_file(&bytes).unwrap().0;
    let element = elements.next().unwrap().unwrap();
    assert_eq!((element.tag, text(element.value)), (0x0020_0012, Some("1")));
}

#[test]
fn a_compressed_file_is_refused_by_the_name_of_its_syntax() {
    let jpeg = "1.2.840.10008.1.2.4.50";
    let message = tags(&file(jpeg, b"\x08\0")).unwrap_err().to_string();
    assert!(message.contains(jpeg), "{message}");
    let planted = tags(&file("Doe^Jane", b"\x08\0")).unwrap_err().to_string();
    assert!(!planted.contains("Doe"), "{planted}");
}

#[test]
fn a_length_that_no_file_has_is_an_error_at_once() {
    let bytes = file("1.2.840.10008.1.2.1", b"\x29\x00\x10\x10OB\0\0\xf0\xff\xff\xff");
    let error = tags(&bytes).unwrap_err();
    assert!(!error.is_incomplete(), "{error}");
}

#[test]
fn space_that_is_reserved_and_not_yet_written_is_incomplete() {
    assert!(tags(&[0; 4096]).unwrap_err().is_incomplete());
    assert!(tags(&file("1.2.840.10008.1.2.1", &[0; 64])).unwrap_err().is_incomplete());
    assert_eq!(tags(&[7; 4096]), Err(DicomError::NotDicom));
}

proptest! {
    /// Reading any bytes gives elements or an error, never a panic or a hang.
    #[test]
    fn foreign_bytes_never_panic(
        explicit in any::<bool>(),
        elements in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let syntax = if explicit { "1.2.840.10008.1.2.1" } else { "1.2.840.10008.1.2\0" };
        prop_assert!(tags(&file(syntax, &elements)).map_or(true, |tags| tags.len() <= 64));
        prop_assert!(tags(&elements).is_err());
    }
}
