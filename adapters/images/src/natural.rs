//! The order in which people number their files: `v2` comes before `v10`.

use std::cmp::Ordering;

/// Compares runs of digits as numbers, everything else as text.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (split(&mut a, false), split(&mut b, false));
        let (digits_a, digits_b) = (split(&mut a, true), split(&mut b, true));
        let (number_a, number_b) =
            (digits_a.trim_start_matches('0'), digits_b.trim_start_matches('0'));
        let order = text_a
            .cmp(text_b)
            .then(number_a.len().cmp(&number_b.len()))
            .then(number_a.cmp(number_b))
            .then(digits_a.len().cmp(&digits_b.len()));
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// Splits off the leading digits of a text, or its leading other characters.
fn split<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let mut names = ["v10", "v9a", "v9", "v", "w1", "v09", "v1b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["v", "v1b", "v9", "v9a", "v09", "v10", "w1"]);
    }
}
