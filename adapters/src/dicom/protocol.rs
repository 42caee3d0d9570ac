//! The protocol that Siemens scanners write as text, `name = value`, one a line.

/// The integer after a name. `None` when the name is not there.
pub(super) fn number(text: &[u8], name: &[u8]) -> Option<i64> {
    let at = find(text, name)? + name.len();
    let line = text.get(at..text.len().min(at + 64))?;
    let line = line.split(|&byte| byte == b'\n').next()?;
    let value = std::str::from_utf8(line).ok()?.trim_start().strip_prefix('=')?.trim();
    match value.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    }
}

/// Where a name begins. Steps over as many bytes as the last one of a window allows (Horspool).
fn find(text: &[u8], name: &[u8]) -> Option<usize> {
    let last = name.len().checked_sub(1)?;
    let mut steps = [name.len(); 256];
    for (at, &byte) in name[..last].iter().enumerate() {
        steps[usize::from(byte)] = last - at;
    }
    let mut at = 0;
    while let Some(window) = text.get(at..at + name.len()) {
        if window == name {
            return Some(at);
        }
        at += steps[usize::from(window[last])];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_name() {
        let text = b"\x00sSliceArray.ucMode\t = \t0x4\nsSliceArray.lSize  = 33\nlast = 1";
        assert_eq!(number(text, b"sSliceArray.lSize"), Some(33));
        assert_eq!(number(text, b"sSliceArray.ucMode"), Some(4));
        assert_eq!(number(text, b"last"), Some(1));
        assert_eq!(number(text, b"lContrasts"), None);
    }
}
