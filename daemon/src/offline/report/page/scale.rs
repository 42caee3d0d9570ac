//! Numbers and axes of the page.

/// Text that is safe inside HTML and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A number with three significant digits, without zeros at its end.
pub(super) fn tidy(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let magnitude = if value.abs() > 0.0 { value.abs().log10().floor() as i32 } else { 0 };
    if !(-4..=9).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.*}", usize::try_from(2 - magnitude).unwrap_or(0));
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}

/// Round values within a range, about `n` of them: steps of 1, 2 or 5 times a power of ten.
pub(super) fn ticks((low, high): (f64, f64), n: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let rough = span / n.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil();
    (0..4 * n.max(1))
        .map(|at| (first + at as f64) * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

/// A range that holds all values, with a margin; with `floor`, from 0 on.
pub(super) fn range(values: impl Iterator<Item = f64>, floor: bool) -> (f64, f64) {
    let values = values.filter(|value| value.is_finite());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let low = if floor { 0.0 } else { low };
    let margin = ((high - low) * 0.06).max(high.abs().max(low.abs()) * 1e-6).max(1e-6);
    (if floor { 0.0 } else { low - margin }, high + margin)
}

/// Points for a line of at most `n_column` columns: of the points of a column, the lowest and the
/// highest are kept, in their order, so that no spike is lost.
pub(super) fn thin(points: &[(f64, f64)], n_column: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * n_column {
        return points.to_vec();
    }
    let per_column = points.len().div_ceil(n_column);
    let mut kept = Vec::with_capacity(2 * n_column);
    for column in points.chunks(per_column) {
        let by_value = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        let numbered = || column.iter().enumerate();
        let (Some(low), Some(high)) = (numbered().min_by(by_value), numbered().max_by(by_value))
        else {
            continue;
        };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*first.1);
        if second.0 != first.0 {
            kept.push(*second.1);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_no_zeros_behind() {
        let found = [0.0, 0.5, 1234.0, 12.345, -0.001_234, 1e-9, f64::NAN].map(tidy);
        assert_eq!(found, ["0", "0.5", "1234", "12.3", "−0.00123", "1.00e-9", "–"]);
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let near = |found: Vec<f64>, expected: &[f64]| {
            let is_near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(found.len() == expected.len() && is_near, "{found:?}");
        };
        near(ticks((0.0, 1.06), 5), &[0.0, 0.5, 1.0]);
        near(ticks((-0.3, 0.5), 4), &[-0.2, 0.0, 0.2, 0.4]);
        near(ticks((3.0, 3.0), 4), &[3.0]);
        assert!(ticks((0.0, f64::MAX), 5).len() <= 20);
        assert_eq!(range(std::iter::empty(), true), (0.0, 1.0));
    }

    #[test]
    fn a_spike_in_a_long_run_is_kept() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|t| (f64::from(t), 1.0)).collect();
        points[54_321].1 = 9.0;
        points[54_322].1 = -9.0;
        let kept = thin(&points, 400);
        assert!(kept.len() <= 800, "{}", kept.len());
        let spikes: Vec<f64> = kept.iter().filter(|p| p.1.abs() > 2.0).map(|p| p.1).collect();
        assert!(spikes.contains(&9.0) && spikes.contains(&-9.0), "{spikes:?}");
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
        assert_eq!(thin(&points[..5], 400).len(), 5);
    }

    #[test]
    fn foreign_text_cannot_leave_its_place() {
        let found = escape("<script src='x'>&\"\n");
        assert_eq!(found, "&lt;script src=&#39;x&#39;&gt;&amp;&quot; ");
    }
}
