//! Room in the recorder's queue, in bytes and entries.
//!
//! **When full**, a product is dropped first, because a replay can compute it again. Then a volume
//! is neither recorded nor acknowledged, so its adapter sends it again. Control messages (the start
//! and end of a run, marks, commands) have room that nothing else can take. A replay waits for room
//! instead.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A result, a report, conditions or a clip.
    Product,
    /// A volume.
    Volume,
    /// The start or end of a run, a mark, a command.
    Control,
}

/// Most entries of all kinds that may wait to be written.
pub(super) const QUEUE_ENTRIES: usize = 1 << 15;

impl Kind {
    /// Bytes and entries in the queue up to which this kind gets room.
    const fn limits(self) -> (usize, usize) {
        match self {
            Self::Product => (192 << 20, QUEUE_ENTRIES - 4096),
            Self::Volume => (256 << 20, QUEUE_ENTRIES - 2048),
            Self::Control => (272 << 20, QUEUE_ENTRIES),
        }
    }
}

/// Bytes and entries in the queue.
#[derive(Clone, Copy, Default)]
struct Taken {
    n_byte: usize,
    n_entry: usize,
}

/// Room in the queue. See the module docs.
#[derive(Default)]
pub(super) struct Room {
    /// `None` once nothing more will be written.
    taken: Mutex<Option<Taken>>,
    given_back: Condvar,
}

impl Room {
    /// An empty queue.
    pub(super) fn open() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(Some(Taken::default())), given_back: Condvar::new() })
    }

    /// Takes room for an entry and puts the entry into the queue, in one step: when the room is
    /// closed, every entry that got room is in the queue. Waits for room if `wait` is set. Returns
    /// false when there is none.
    pub(super) fn take(&self, n_byte: usize, kind: Kind, wait: bool, put: impl FnOnce()) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &mut *taken {
                None => return false,
                Some(now) if fits(*now, n_byte, kind) => {
                    now.n_byte += n_byte;
                    now.n_entry += 1;
                    put();
                    return true;
                }
                Some(_) if !wait => return false,
                Some(_) => {
                    taken = self.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Whether an entry would get room now.
    pub(super) fn has_room(&self, n_byte: usize, kind: Kind) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.is_some_and(|now| fits(now, n_byte, kind))
    }

    /// Gives back the room of an entry that was written.
    pub(super) fn give_back(&self, n_byte: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = &mut *taken {
            now.n_byte = now.n_byte.saturating_sub(n_byte);
            now.n_entry = now.n_entry.saturating_sub(1);
        }
        self.given_back.notify_all();
    }

    /// Marks the end of writing: from now on no caller gets room or waits for it.
    pub(super) fn close(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.given_back.notify_all();
    }

    /// Whether nothing more will be written.
    pub(super) fn is_closed(&self) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

fn fits(now: Taken, n_byte: usize, kind: Kind) -> bool {
    let (most_bytes, most_entries) = kind.limits();
    // An empty queue takes any entry, so that none is too large to be recorded.
    let has_bytes = now.n_byte == 0 || now.n_byte.saturating_add(n_byte) <= most_bytes;
    has_bytes && now.n_entry < most_entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_have_room_when_volumes_and_products_have_none() {
        let room = Room::open();
        let mut n = [0; 2];
        for (at, kind) in [Kind::Product, Kind::Volume].into_iter().enumerate() {
            while room.take(1 << 20, kind, false, || {}) {
                n[at] += 1;
            }
        }
        assert_eq!(n, [192, 64], "products leave room for volumes");
        assert!(!room.has_room(1, Kind::Product));
        assert!(room.take(1 << 20, Kind::Control, false, || {}));
        room.give_back(100 << 20);
        assert!(room.take(1 << 20, Kind::Product, false, || {}));
        room.close();
        assert!(!room.take(1, Kind::Control, true, || {}) && room.is_closed());
    }

    #[test]
    fn many_small_products_leave_places_for_control_messages() {
        let room = Room::open();
        while room.take(0, Kind::Product, false, || {}) {}
        while room.take(0, Kind::Volume, false, || {}) {}
        assert!(room.take(0, Kind::Control, false, || {}));
    }

    /// Otherwise the recorder could close the room, answer what waits in the queue, and leave an
    /// entry behind that comes a moment later.
    #[test]
    fn the_room_is_not_closed_between_taking_room_and_putting_an_entry() {
        let room = Room::open();
        assert!(room.take(1, Kind::Control, false, || assert!(room.taken.try_lock().is_err())));
    }
}
