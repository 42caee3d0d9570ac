//! Times of day in the format of scanners.

/// A day in microseconds.
pub(super) const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// When something was acquired, by the scanner's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The day as `YYYYMMDD`; 0 when it is not given.
    pub day: u32,
    /// Time of day, in microseconds.
    pub us: i64,
}

/// A moment from the texts of a day and of a time of day. The day may be missing.
pub(super) fn moment(day: &str, time: &str) -> Option<Moment> {
    // Some times end with an offset from UTC.
    let time = time.split(['+', '-', '&']).next().unwrap_or_default().trim();
    let day = day.parse().ok().filter(|_| day.len() == 8).unwrap_or(0);
    Some(Moment { day, us: time_of_day_us(time)? })
}

/// Parses `HHMMSS.ffffff` into microseconds. The end may be missing; old files contain colons.
pub(super) fn time_of_day_us(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: String = whole.chars().filter(|&c| c != ':').collect();
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole.len(), 2 | 4 | 6) || !digits(&whole) || !digits(fraction) {
        return None;
    }
    let field = |at: usize| whole.get(at..at + 2).map_or(Some(0), |part| part.parse::<i64>().ok());
    let us: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let us = ((field(0)? * 60 + field(2)?) * 60 + field(4)?) * 1_000_000 + us;
    (us < DAY_US).then_some(us)
}

/// Time between two times of day, in microseconds, also across midnight.
#[must_use]
pub(super) fn elapsed_us(from: i64, to: i64) -> i64 {
    (to - from + DAY_US / 2).rem_euclid(DAY_US) - DAY_US / 2
}

/// A time of day in microseconds as `HH:MM:SS.ffffff`.
pub(super) fn wall_time(time_of_day_us: i64) -> String {
    let (seconds, us) = (time_of_day_us / 1_000_000, time_of_day_us % 1_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{us:06}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_as_scanners_write_them() {
        let quarter_to = Some((11 * 3600 + 45 * 60) * 1_000_000);
        for text in ["114500", "1145", "11:45:00", "114500.000000"] {
            assert_eq!(time_of_day_us(text), quarter_to, "{text}");
        }
        assert_eq!(time_of_day_us("000000.25"), Some(250_000));
        for text in ["", "1", "245900", "Doe^Ja", "12e4"] {
            assert_eq!(time_of_day_us(text), None, "{text}");
        }
        assert_eq!(time_of_day_us("124750.327500").map(wall_time).unwrap(), "12:47:50.327500");
        assert_eq!(elapsed_us(DAY_US - 1, 1), 2);
    }
}
