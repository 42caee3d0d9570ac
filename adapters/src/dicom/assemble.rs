//! One slice a file: collects slices until their volume is complete.
//!
//! The number of slices comes from the header. Without it, a volume is complete when a slice of
//! the next one arrives, and later volumes have as many slices as the first.
//!
//! Which volume a slice belongs to is told by the first of these numbers that never names one
//! place of one volume twice: temporal position; acquisition; instance, volume by volume; instance,
//! place by place; the count of images at the same place. How these numbers count, and where they
//! begin, is for `numbering`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    error::DicomError,
    geometry::SAME_PLACE_MM,
    parts::{Part, Slice, What, stacked},
    scan::{MAX_NUMBER, Numbers, Scan, Vendor},
};

/// Most bytes of slices that wait for their volume.
const MAX_WAITING_BYTES: usize = 512 << 20;
/// A volume is given up when this many later ones are whole.
const LATER_VOLUMES: usize = 2;
/// A series is taken to have one slice when so many volumes brought one, all at one place.
const VOLUMES_OF_ONE_SLICE: usize = 8;

/// How the volume of a slice is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Temporal,
    Acquisition,
    VolumeByVolume,
    PlaceByPlace,
    Count,
}

/// A slice that waits for its volume.
struct Waiting {
    slice: Slice,
    numbers: Numbers,
    /// Its place along the normal, in units of [`SAME_PLACE_MM`].
    place: i64,
}

/// The slices of one series that wait for their volume.
pub struct Assembly {
    scheme: Scheme,
    n_slice: Option<usize>,
    /// By number of the volume, from 0.
    volumes: BTreeMap<u32, Vec<Waiting>>,
    bytes: usize,
    /// How many images came at each place.
    counts: HashMap<i64, u32>,
    /// The numbers of the last image at each place.
    latest: HashMap<i64, Numbers>,
    /// The volumes that were completed; one that is late can have a lower number than others.
    done: BTreeSet<u32>,
    /// Volumes that were given up; more slices of them may still arrive.
    given_up: HashSet<u32>,
    /// Added to the scheme's number.
    offset: i64,
    /// Two images at one place have neighbouring numbers: the export goes place by place.
    is_by_place: bool,
    /// The first number was the same in all images, so it does not tell where the others begin.
    was_constant: bool,
    /// A slice of the first volume, with what holds for all its slices.
    template: Option<Part>,
}

impl Assembly {
    /// An assembly that begins with a slice of this scan.
    #[must_use]
    pub fn new(scan: &Scan) -> Self {
        let Numbers { temporal, acquisition, instance } = scan.numbers;
        let scheme = if temporal.is_some() {
            Scheme::Temporal
        } else if scan.vendor == Vendor::Ge && scan.n_slice.is_some() && instance.is_some() {
            Scheme::VolumeByVolume
        } else if matches!(scan.vendor, Vendor::SiemensV | Vendor::SiemensXa)
            && acquisition.is_some()
            || acquisition == Some(1)
        {
            Scheme::Acquisition
        } else if scan.n_slice.is_some() && instance.is_some() && scan.vendor != Vendor::Philips {
            Scheme::VolumeByVolume
        } else {
            Scheme::Count
        };
        Self {
            scheme,
            n_slice: scan.n_slice,
            volumes: BTreeMap::new(),
            bytes: 0,
            counts: HashMap::new(),
            latest: HashMap::new(),
            done: BTreeSet::new(),
            given_up: HashSet::new(),
            offset: 0,
            is_by_place: false,
            was_constant: false,
            template: None,
        }
    }

    /// Adds a slice. Returns the volumes that are complete now, in order.
    pub fn add(&mut self, part: Part, n_volumes: Option<u32>) -> Vec<Result<Part, DicomError>> {
        let Part { numbers, ref what, .. } = part;
        let What::Slice(slice) = what else { return vec![Ok(part)] };
        let place = (slice.plane.height_mm() / SAME_PLACE_MM).round() as i64;
        let waiting = Waiting { slice: slice.clone(), numbers, place };
        self.bytes += waiting.slice.voxels.len();
        let mut template = Part { what: What::Slice(empty(&waiting.slice)), ..part };
        self.is_by_place |= self.follows_at_its_place(&waiting);
        let mut number = self.number_of(&numbers, place, n_volumes);
        if self.given_up.contains(&number) {
            self.bytes -= waiting.slice.voxels.len();
            return Vec::new();
        }
        if !self.is_free(number, place) {
            // The conflicting slice belongs to the volume after the last.
            let last = self.volumes.keys().next_back().copied().max(self.done.last().copied());
            let before = self.latest.get(&place).copied().unwrap_or_default();
            self.was_constant |= self.volumes.keys().chain(&self.done).all(|n| *n == number);
            while self.scheme != Scheme::Count {
                self.next_scheme(&waiting, n_volumes);
                self.offset = 0;
                let raw = self.number_of(&waiting.numbers, place, n_volumes);
                let tells = raw != self.number_of(&before, place, n_volumes);
                self.offset = last.map_or(0, |last| i64::from(last) + 1 - i64::from(raw));
                number = self.number_of(&waiting.numbers, place, n_volumes);
                if self.scheme == Scheme::Count || tells && self.is_free(number, place) {
                    break;
                }
            }
        }
        self.latest.insert(place, numbers);
        *self.counts.entry(place).or_default() += 1;
        template.numbers = numbers;
        self.template.get_or_insert(template);
        self.volumes.entry(number).or_default().push(waiting);
        self.complete(false)
    }

    /// Volumes that are complete although no later slice shows it.
    pub fn flush(&mut self) -> Vec<Result<Part, DicomError>> {
        self.complete(true)
    }

    /// Whether the number of slices is not known yet.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.n_slice.is_none()
    }

    /// Whether slices wait for their volume.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.volumes.is_empty()
    }

    /// The number of the slice's volume.
    fn number_of(&self, numbers: &Numbers, place: i64, n_volumes: Option<u32>) -> u32 {
        let Numbers { temporal, acquisition, instance } = *numbers;
        let count = self.counts.get(&place).copied().unwrap_or(0);
        let less_one = |number: Option<u32>| number.map_or(count, |n| n.saturating_sub(1));
        let number = match (self.scheme, self.n_slice, n_volumes) {
            (Scheme::Temporal, ..) => less_one(temporal),
            (Scheme::Acquisition, ..) => less_one(acquisition),
            (Scheme::VolumeByVolume, Some(n_slice), _) => less_one(instance) / n_slice as u32,
            (Scheme::PlaceByPlace, _, Some(n_volumes)) => less_one(instance) % n_volumes.max(1),
            _ => count,
        };
        (i64::from(number) + self.offset).clamp(0, MAX_NUMBER) as u32
    }

    /// Whether a slice at this place can be the volume's first one there.
    fn is_free(&self, number: u32, place: i64) -> bool {
        let slices = self.volumes.get(&number);
        let has = slices.is_some_and(|slices| slices.iter().any(|s| s.place == place));
        !has && !self.done.contains(&number)
    }

    /// Whether the image before this one, by its number, lies at the same place.
    fn follows_at_its_place(&self, slice: &Waiting) -> bool {
        let at_place = self.volumes.values().flatten().filter(|s| s.place == slice.place);
        at_place
            .filter_map(|other| other.numbers.instance)
            .any(|before| slice.numbers.instance == Some(before.saturating_add(1)))
    }

    /// Goes on to the next way of telling volumes, because this one named a place twice.
    fn next_scheme(&mut self, slice: &Waiting, n_volumes: Option<u32>) {
        let is_next = self.follows_at_its_place(slice);
        let n_here = self.volumes.values().next().map(Vec::len);
        self.scheme = match self.scheme {
            Scheme::Temporal if slice.numbers.acquisition.is_some() => Scheme::Acquisition,
            Scheme::Temporal | Scheme::Acquisition if is_next && n_volumes.is_some() => {
                Scheme::PlaceByPlace
            }
            Scheme::Temporal | Scheme::Acquisition
                if slice.numbers.instance.is_some() && !is_next =>
            {
                self.n_slice = self.n_slice.or(n_here);
                Scheme::VolumeByVolume
            }
            _ => Scheme::Count,
        };
    }

    fn complete(&mut self, at_end: bool) -> Vec<Result<Part, DicomError>> {
        let mut complete = Vec::new();
        while let Some((&number, slices)) = self.volumes.first_key_value() {
            let n_later = self.volumes.len() - 1;
            let n_here = slices.len();
            let is_whole = match self.n_slice {
                Some(n_slice) => n_here >= n_slice,
                // Exports that go place by place also begin with volumes of one slice.
                None if n_here == 1 && self.counts.len() == 1 => {
                    n_later >= VOLUMES_OF_ONE_SLICE || at_end
                }
                None => {
                    let is_anew = !self.is_by_place && n_here > 1 && n_later > 0;
                    is_anew && self.is_begun_anew(number) || at_end
                }
            };
            let n_whole = self.n_slice.map_or(0, |n_slice| {
                self.volumes.values().skip(1).filter(|later| later.len() >= n_slice).count()
            });
            let is_over = at_end || n_whole >= LATER_VOLUMES || self.bytes > MAX_WAITING_BYTES;
            if !is_whole && !is_over {
                // A later volume that is whole waits for this one.
                break;
            }
            let slices = self.volumes.remove(&number).unwrap_or_default();
            self.bytes -= slices.iter().map(|s| s.slice.voxels.len()).sum::<usize>();
            self.done.insert(number);
            complete.push(self.volume(number, slices));
        }
        complete
    }

    /// Whether the volume after this one has no slice at a place that this one lacks.
    fn is_begun_anew(&self, number: u32) -> bool {
        let places = |slices: &Vec<Waiting>| slices.iter().map(|s| s.place).collect::<HashSet<_>>();
        let here = self.volumes.get(&number).map(places).unwrap_or_default();
        // An export that goes place by place brings a place to all volumes before the next place.
        let later = self.volumes.range(number + 1..).next().map(|(_, slices)| places(slices));
        later.is_some_and(|later| later.is_subset(&here) && later.len() < here.len())
    }

    fn volume(&mut self, number: u32, slices: Vec<Waiting>) -> Result<Part, DicomError> {
        let expected = self.n_slice.filter(|&expected| slices.len() != expected);
        let time = slices.iter().filter_map(|waiting| waiting.slice.time).min();
        let whole = match expected {
            Some(expected) => Err(DicomError::Attribute {
                name: "the volume",
                reason: format!("has {} slices, expected {expected}", slices.len()),
            }),
            None => {
                let slices: Vec<Slice> = slices.into_iter().map(|waiting| waiting.slice).collect();
                stacked(&slices).inspect(|_| self.n_slice = Some(slices.len()))
            }
        };
        let template = self.template.clone().ok_or(DicomError::NoPixels(0))?;
        match whole {
            Ok(stack) => Ok(Part {
                // The other numbers count slices.
                numbers: Numbers { temporal: Some(number + 1), ..Numbers::default() },
                time,
                content: None,
                is_counted: self.scheme == Scheme::Count || self.was_constant,
                what: What::Volume(stack),
                ..template
            }),
            Err(error) => {
                self.given_up.insert(number);
                Err(error)
            }
        }
    }
}

/// The slice without its voxels.
fn empty(slice: &Slice) -> Slice {
    Slice { voxels: Vec::new(), ..slice.clone() }
}

#[cfg(test)]
mod tests;
