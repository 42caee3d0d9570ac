//! The block of commands that describes a scan.
//!
//! Lines of a command and its values. Unknown commands are left out, as AFNI does; so are those
//! that would make the receiver run or open something. Texts (names, notes) are not kept.

use std::str::FromStr;

use corticast_bold::space::MAX_AXIS_VOXELS;

/// Shown of a value that is wrong.
const SHOWN: usize = 60;

/// Which images the sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquisition {
    /// Slices of one volume.
    Slices,
    /// Slices of many volumes.
    SlicesInTime,
    /// Volumes.
    Volumes,
}

impl Acquisition {
    pub(super) fn is_2d(self) -> bool {
        self != Self::Volumes
    }

    pub(super) fn name(self) -> &'static str {
        if self.is_2d() { "slice by slice" } else { "volume by volume" }
    }
}

/// How one voxel is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datum {
    Byte,
    Short,
    Float,
}

/// Order in which slices are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SliceOrder {
    /// 1 3 5 … 2 4 6 …
    Alternating,
    Sequential,
    /// Slice numbers, from 0.
    Explicit(Vec<usize>),
}

/// Order in which slices were acquired, or when.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TimePattern {
    /// Seconds after the start of the volume.
    Explicit(Vec<f64>),
    /// Every other slice first, from the first or the second of them.
    Alternating {
        from: usize,
        is_descending: bool,
    },
    Sequential {
        is_descending: bool,
    },
}

/// Direction of an axis in the patient: 0 right–left, 1 anterior–posterior, 2 superior–inferior;
/// and whether the index grows towards R, A, S.
pub(super) type Direction = (usize, bool);

/// The commands, with AFNI's defaults for those that were not sent.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    pub(super) acquisition: Acquisition,
    pub(super) matrix: [usize; 3],
    pub(super) datum: Datum,
    pub(super) big_endian: bool,
    pub(super) order: SliceOrder,
    pub(super) n_channels: u32,
    pub(super) n_volumes: Option<u32>,
    pub(super) repetition_time_s: Option<f64>,
    pub(super) pattern: Option<TimePattern>,
    /// Field of view along x, y and, if sent, z in mm.
    pub(super) fov_mm: Option<(f64, f64, Option<f64>)>,
    /// Distance of the slices in mm: thickness and gap.
    pub(super) slice_step_mm: Option<f64>,
    pub(super) axes: [Direction; 3],
    /// Centre of the first voxel along each axis: mm, and the letter that is positive.
    pub(super) first: Option<[(f64, char); 3]>,
    /// Voxel → DICOM (LPS) mm, rows.
    pub(super) oblique: Option<[[f64; 4]; 4]>,
}

/// The values as they are read, before they are known to be complete.
#[derive(Default)]
struct Draft {
    acquisition: Option<Acquisition>,
    xy: Option<[usize; 2]>,
    nz: Option<usize>,
    datum: Option<Datum>,
    big_endian: bool,
    order: Option<SliceOrder>,
    n_channels: Option<u32>,
    n_volumes: Option<u32>,
    repetition_time_s: Option<f64>,
    pattern: Option<TimePattern>,
    fov_mm: Option<(f64, f64, Option<f64>)>,
    z_delta_mm: Option<f64>,
    z_gap_mm: Option<f64>,
    axes: Option<[Direction; 3]>,
    first: Option<[(f64, char); 3]>,
    oblique: Option<[[f64; 4]; 4]>,
}

impl Commands {
    /// Reads a block, without its closing NUL.
    pub(super) fn parse(block: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(block);
        let mut draft = Draft::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(command) = words.next() else { continue };
            let words: Vec<&str> = words.collect();
            draft.take(command, &words).map_err(|expected| {
                let found: String = line.chars().take(SHOWN).collect();
                format!("found {found:?}, expected {expected}")
            })?;
        }
        draft.finish()
    }
}

impl Commands {
    /// Start of each slice in seconds after that of the volume; empty if the sender says none.
    pub(super) fn slice_times_s(&self) -> Vec<f64> {
        let n = self.matrix[2];
        let (order, is_descending): (Vec<usize>, bool) = match &self.pattern {
            None => return Vec::new(),
            Some(TimePattern::Explicit(times_s)) => return times_s.clone(),
            Some(TimePattern::Sequential { is_descending }) => ((0..n).collect(), *is_descending),
            Some(TimePattern::Alternating { from, is_descending }) => {
                let order = (*from..n).step_by(2).chain((1 - from..n).step_by(2));
                (order.collect(), *is_descending)
            }
        };
        let step_s = self.repetition_time_s.unwrap_or(0.0) / n as f64;
        let mut times_s = vec![0.0; n];
        for (at, slice) in order.into_iter().enumerate() {
            times_s[if is_descending { n - 1 - slice } else { slice }] = at as f64 * step_s;
        }
        times_s
    }
}

impl Draft {
    /// Takes one command. The error says what was expected.
    fn take(&mut self, command: &str, words: &[&str]) -> Result<(), &'static str> {
        let first = words.first().copied().unwrap_or("");
        match command {
            "ACQUISITION_TYPE" => self.acquisition = Some(acquisition(first)?),
            "XYMATRIX" => {
                let sizes: Vec<usize> = numbers(words, "XYMATRIX nx ny [nz], 1 to 1024 each")?;
                let in_range = sizes.iter().all(|n| (1..=MAX_AXIS_VOXELS).contains(n));
                let (Some(&[x, y]), true) = (sizes.first_chunk(), in_range) else {
                    return Err("XYMATRIX nx ny [nz], 1 to 1024 each");
                };
                self.xy = Some([x, y]);
                self.nz = sizes.get(2).copied().or(self.nz);
            }
            "ZNUM" => {
                let n = one(first, "ZNUM with 1 to 1024 slices")?;
                let in_range = (1..=MAX_AXIS_VOXELS).contains(&n);
                self.nz = Some(in_range.then_some(n).ok_or("ZNUM with 1 to 1024 slices")?);
            }
            "NUMVOL" => self.n_volumes = Some(one(first, "NUMVOL with a number of volumes")?),
            "NUM_CHAN" => {
                let n = one(first, "NUM_CHAN with 1 to 32 channels")?;
                let in_range = (1..=32).contains(&n);
                self.n_channels = Some(in_range.then_some(n).ok_or("NUM_CHAN, 1 to 32")?);
            }
            "DATUM" => {
                self.datum = Some(match first {
                    "byte" => Datum::Byte,
                    "short" => Datum::Short,
                    "float" => Datum::Float,
                    _ => return Err("DATUM byte, short or float: complex images are no signal"),
                });
            }
            "BYTEORDER" => {
                self.big_endian = match first {
                    "LSB_FIRST" => false,
                    "MSB_FIRST" => true,
                    _ => return Err("BYTEORDER LSB_FIRST or MSB_FIRST"),
                };
            }
            "ZORDER" => self.order = Some(slice_order(words)?),
            "TPATTERN" => self.pattern = time_pattern(words),
            "TR" => {
                let tr: f64 = one(first, "TR with seconds")?;
                let is_valid = tr.is_finite() && tr > 0.0;
                self.repetition_time_s = Some(is_valid.then_some(tr).ok_or("TR above 0 s")?);
            }
            _ => return self.take_place(command, words),
        }
        Ok(())
    }

    /// The commands that say where the voxels are.
    fn take_place(&mut self, command: &str, words: &[&str]) -> Result<(), &'static str> {
        let first = words.first().copied().unwrap_or("");
        match command {
            "XYFOV" => {
                let expected = "XYFOV x y [z] in mm";
                let sizes = lengths(words, expected)?;
                let (x, y) = match *sizes {
                    [x] => (x, x),
                    [x, y, ..] => (x, if y == 0.0 { x } else { y }),
                    [] => return Err(expected),
                };
                if x == 0.0 {
                    return Err(expected);
                }
                self.fov_mm = Some((x, y, sizes.get(2).copied().filter(|z| *z > 0.0)));
            }
            "ZDELTA" => {
                self.z_delta_mm = Some(lengths(&[first], "ZDELTA with mm")?[0]);
            }
            "ZGAP" => self.z_gap_mm = Some(lengths(&[first], "ZGAP with mm")?[0]),
            "XYZAXES" => self.axes = Some(axes(words).ok_or("XYZAXES such as R-L A-P I-S")?),
            "XYZFIRST" => {
                self.first = Some(first_voxel(words).ok_or("XYZFIRST such as 96R 120A 54I")?);
            }
            "OBLIQUE_XFORM" => {
                let expected = "OBLIQUE_XFORM with 16 finite numbers";
                let values: Vec<f64> = numbers(words, expected)?;
                let is_finite = values.len() == 16 && values.iter().all(|value| value.is_finite());
                if !is_finite {
                    return Err(expected);
                }
                self.oblique =
                    Some(std::array::from_fn(|r| std::array::from_fn(|c| values[4 * r + c])));
            }
            // NAME, NOTE, DRIVE_AFNI, GRAPH_…, and what later versions add.
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Commands, String> {
        let [x, y] = self.xy.ok_or("found no XYMATRIX, expected it among the commands")?;
        let z = self.nz.ok_or(
            "found no number of slices, expected XYMATRIX nx ny nz or ZNUM among the commands",
        )?;
        let axes = self.axes.ok_or("found no XYZAXES, expected it among the commands")?;
        if let Some(SliceOrder::Explicit(order)) = &self.order {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..z) {
                return Err(format!("found a ZORDER that does not name each of {z} slices once"));
            }
        }
        let slice_step_mm = self.z_delta_mm.map(|delta| delta + self.z_gap_mm.unwrap_or(0.0));
        Ok(Commands {
            acquisition: self.acquisition.unwrap_or(Acquisition::SlicesInTime),
            matrix: [x, y, z],
            datum: self.datum.unwrap_or(Datum::Short),
            big_endian: self.big_endian,
            order: self.order.unwrap_or(SliceOrder::Alternating),
            n_channels: self.n_channels.unwrap_or(1),
            n_volumes: self.n_volumes,
            repetition_time_s: self.repetition_time_s,
            pattern: self.pattern,
            fov_mm: self.fov_mm,
            slice_step_mm: slice_step_mm.filter(|step| *step > 0.0),
            axes,
            first: self.first,
            oblique: self.oblique,
        })
    }
}

fn acquisition(word: &str) -> Result<Acquisition, &'static str> {
    match word {
        "2D+z" => Ok(Acquisition::Slices),
        "2D+zt" => Ok(Acquisition::SlicesInTime),
        "3D" | "3D+t" | "3D+timing" => Ok(Acquisition::Volumes),
        _ => Err("ACQUISITION_TYPE 2D+z, 2D+zt, 3D, 3D+t or 3D+timing"),
    }
}

/// AFNI's names of patterns (`to3d -help`), or times. An unknown one says nothing, as in AFNI.
fn time_pattern(words: &[&str]) -> Option<TimePattern> {
    let alternating = |from, is_descending| Some(TimePattern::Alternating { from, is_descending });
    match words {
        ["explicit", times @ ..] if (1..=MAX_AXIS_VOXELS).contains(&times.len()) => {
            numbers(times, "times").ok().map(TimePattern::Explicit)
        }
        ["alt+z" | "altplus", ..] => alternating(0, false),
        ["alt+z2", ..] => alternating(1, false),
        ["alt-z" | "altminus", ..] => alternating(0, true),
        ["alt-z2", ..] => alternating(1, true),
        ["seq+z" | "seqplus", ..] => Some(TimePattern::Sequential { is_descending: false }),
        ["seq-z" | "seqminus", ..] => Some(TimePattern::Sequential { is_descending: true }),
        _ => None,
    }
}

/// `seq`, `alt`, or `explicit` with numbers from 0 or from 1.
fn slice_order(words: &[&str]) -> Result<SliceOrder, &'static str> {
    match words {
        ["seq", ..] => Ok(SliceOrder::Sequential),
        ["alt", ..] => Ok(SliceOrder::Alternating),
        ["explicit", order @ ..] if (1..=MAX_AXIS_VOXELS).contains(&order.len()) => {
            let expected = "ZORDER explicit with slice numbers";
            let order: Vec<usize> = numbers(order, expected)?;
            let lowest = order.iter().min().copied().unwrap_or(0);
            if lowest > 1 {
                return Err(expected);
            }
            Ok(SliceOrder::Explicit(order.iter().map(|slice| slice - lowest).collect()))
        }
        _ => Err("ZORDER alt, seq or explicit with slice numbers"),
    }
}

/// Three axes such as `R-L A-P I-S` or `RL AP IS`. Each names another direction.
fn axes(words: &[&str]) -> Option<[Direction; 3]> {
    let [x, y, z] = words.first_chunk()?;
    let direction = |word: &str| {
        let mut letters = word.chars().filter(|c| *c != '-');
        let (from, to) = (letters.next()?, letters.next()?);
        let (from, to) = (place(from)?, place(to)?);
        (from.0 == to.0 && from.1 != to.1).then_some(to)
    };
    let axes = [direction(x)?, direction(y)?, direction(z)?];
    let mut kinds = axes.map(|(kind, _)| kind);
    kinds.sort_unstable();
    (kinds == [0, 1, 2]).then_some(axes)
}

/// Three numbers with letters, such as `96.0R`. With a space between them they read alike.
fn first_voxel(words: &[&str]) -> Option<[(f64, char); 3]> {
    let text: String = words.concat();
    let mut found = Vec::new();
    for part in text.split_inclusive(|c: char| place(c).is_some()) {
        let letter = part.chars().last()?;
        let number: f64 = part.strip_suffix(letter)?.parse().ok()?;
        place(letter).filter(|_| number.is_finite() && found.len() < 3)?;
        found.push((number, letter.to_ascii_uppercase()));
    }
    found.try_into().ok()
}

/// The kind of axis that a letter names, and whether it is the end towards R, A, S.
pub(super) fn place(letter: char) -> Option<Direction> {
    match letter.to_ascii_uppercase() {
        'R' => Some((0, true)),
        'L' => Some((0, false)),
        'A' => Some((1, true)),
        'P' => Some((1, false)),
        'S' => Some((2, true)),
        'I' => Some((2, false)),
        _ => None,
    }
}

fn one<T: FromStr>(word: &str, expected: &'static str) -> Result<T, &'static str> {
    word.parse().map_err(|_| expected)
}

fn numbers<T: FromStr>(words: &[&str], expected: &'static str) -> Result<Vec<T>, &'static str> {
    words.iter().map(|word| word.parse().map_err(|_| expected)).collect()
}

/// Lengths in mm: finite and not negative, at most 10 m.
fn lengths(words: &[&str], expected: &'static str) -> Result<Vec<f64>, &'static str> {
    let lengths: Vec<f64> = numbers(words, expected)?;
    let is_valid = lengths.iter().all(|length| (0.0..=10_000.0).contains(length));
    is_valid.then_some(lengths).ok_or(expected)
}
