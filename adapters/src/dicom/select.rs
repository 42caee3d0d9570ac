//! Which images become volumes: magnitude, one echo, unless the operator asks for others.

use std::{collections::HashMap, fmt};

use super::{
    kind::Kind,
    parts::Part,
    scan::{Echo, Scan},
};

/// What the operator asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Number of the series.
    pub series: Option<u32>,
    /// A part of the protocol's or the series' name.
    pub protocol: Option<String>,
    /// The echo, from 1.
    pub echo: Option<u32>,
    /// The scanner's motion-corrected copy instead of the original.
    pub moco: bool,
    /// A value of the image type.
    pub image_type: Option<String>,
}

/// Why an image is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Left {
    /// The series has another number.
    OtherSeries,
    /// The protocol has another name.
    OtherProtocol,
    /// Images of this kind are not asked for.
    Kind(Kind),
    /// The image type lacks the value that was asked for.
    OtherType,
    /// Another echo, with its number and its time in units of 0.01 ms.
    Echo(u32, i64),
    /// A series that was acquired at the same times as a run, with its number.
    Beside(Option<u32>),
    /// A series with too few volumes.
    TooShort,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSeries => f.write_str("images of another series than --series"),
            Self::OtherProtocol => f.write_str("images of another protocol than --protocol"),
            Self::OtherType => f.write_str("images of another type than --image-type"),
            Self::Kind(kind) => write!(f, "{kind} ({} takes them)", kind.option()),
            Self::Echo(number, time) => {
                let time_ms = *time as f64 / 100.0;
                write!(f, "images of echo {number}, {time_ms} ms (--echo {number} takes them)")
            }
            Self::Beside(number) => {
                f.write_str("images of a series that was acquired at the same times as a run")?;
                number.map_or(Ok(()), |n| write!(f, " (--series {n} takes them instead)"))
            }
            Self::TooShort => {
                f.write_str("images of a series with too few volumes (--min-volumes 1 takes them)")
            }
        }
    }
}

impl Wanted {
    /// Whether images of this kind are asked for. Echoes are decided by [`Echoes`].
    ///
    /// # Errors
    ///
    /// Fails with the reason for which the image is left out.
    pub fn admits(&self, scan: &Scan, part: &Part) -> Result<(), Left> {
        if self.series.is_some_and(|wanted| scan.series_number != Some(wanted)) {
            return Err(Left::OtherSeries);
        }
        if self.protocol.as_ref().is_some_and(|name| !scan.names.contains(name)) {
            return Err(Left::OtherProtocol);
        }
        if let Some(value) = &self.image_type {
            return if part.image_type.has(value) { Ok(()) } else { Err(Left::OtherType) };
        }
        match (part.kind, self.moco) {
            (Kind::MotionCorrected, true) | (Kind::Magnitude, false) => Ok(()),
            // XA scanners call the copy derived.
            (Kind::Derived, true) if part.image_type.has("MOCO") => Ok(()),
            // A series that was named is taken, whatever the operator calls it.
            (Kind::MotionCorrected | Kind::Reference | Kind::Localizer, _)
                if self.series.is_some() && !self.moco =>
            {
                Ok(())
            }
            (kind, _) => Err(Left::Kind(kind)),
        }
    }
}

/// The echoes of one series, and the one that is taken.
#[derive(Clone, Debug, Default)]
pub struct Echoes {
    /// Times in units of 0.01 ms, with the number in the header.
    known: Vec<(i64, Option<u32>)>,
    taken: Option<i64>,
}

/// Most echoes that are told apart.
const MAX_ECHOES: usize = 64;

impl Echoes {
    /// Whether an image is of the echo that is taken. Without `wanted` that is the first one seen.
    ///
    /// # Errors
    ///
    /// Fails when it is of another echo.
    pub fn admits(&mut self, echo: Echo, wanted: Option<u32>) -> Result<(), Left> {
        // Without an echo time, the number stands for it.
        let time = echo.time_ms.map_or_else(
            || i64::from(echo.number.unwrap_or(0)) * 100,
            |ms| (ms * 100.0).round() as i64,
        );
        if !self.known.iter().any(|(known, _)| *known == time) && self.known.len() < MAX_ECHOES {
            self.known.push((time, echo.number));
            self.known.sort_unstable();
        }
        let number = self.number_of(time);
        let is_taken = match wanted {
            Some(wanted) => number == wanted,
            None => *self.taken.get_or_insert(time) == time,
        };
        if is_taken { Ok(()) } else { Err(Left::Echo(number, time)) }
    }

    /// The echo's number: that of the header if it tells all echoes apart, else its rank.
    fn number_of(&self, time: i64) -> u32 {
        let mut numbers: HashMap<u32, usize> = HashMap::new();
        let stated: Vec<u32> = self.known.iter().filter_map(|(_, number)| *number).collect();
        stated.iter().for_each(|number| *numbers.entry(*number).or_default() += 1);
        let rank = self.known.iter().position(|(known, _)| *known == time).unwrap_or(0);
        if numbers.len() == self.known.len() {
            self.known.get(rank).and_then(|(_, number)| *number).unwrap_or(1)
        } else {
            rank as u32 + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(number: Option<u32>, time_ms: f64) -> Echo {
        Echo { number, time_ms: Some(time_ms) }
    }

    #[test]
    fn one_echo_is_taken_for_the_whole_series() {
        let mut echoes = Echoes::default();
        let admits = |echoes: &mut Echoes, number, time, wanted| {
            echoes.admits(echo(number, time), wanted).is_ok()
        };
        assert!(admits(&mut echoes, Some(1), 13.0, None));
        assert!(!admits(&mut echoes, Some(2), 26.0, None));
        assert!(admits(&mut echoes, Some(1), 13.0, None));

        let mut echoes = Echoes::default();
        assert!(!admits(&mut echoes, Some(1), 13.0, Some(2)));
        assert!(admits(&mut echoes, Some(2), 26.0, Some(2)));
        // Numbers that are all 1, or missing, are not believed.
        for number in [Some(1), None] {
            let mut echoes = Echoes::default();
            assert!(!admits(&mut echoes, number, 13.0, Some(2)));
            assert!(admits(&mut echoes, number, 26.0, Some(2)), "{number:?}");
            assert!(!admits(&mut echoes, number, 13.0, Some(2)));
        }
    }
}
