//! Patterns of file names.

/// Whether a name matches a pattern: `*` is any text, `?` any one character. Goes back to the last `*` only, so it
/// takes at most n·m steps.
#[must_use]
pub fn wild(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                (p, n) = (at + 1, taken + 1);
                star = Some((at, taken + 1));
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        for (pattern, name) in [
            ("*.dcm", "001_000013_000005.dcm"),
            ("001_*_00000?.dcm", "001_000013_000005.dcm"),
            ("*", ""),
            ("a*b*c", "a-b-b-c"),
            ("?", "ä"),
        ] {
            assert!(wild(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.dcm", "001.dcm.part"), ("?", ""), ("a*b", "ab-"), ("", "a")] {
            assert!(!wild(pattern, name), "{pattern} {name}");
        }
        assert!(!wild(&"*a".repeat(50), &"a".repeat(5000).replace('a', "ab")));
    }
}
