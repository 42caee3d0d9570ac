//! Sealed assignments: who gets real feedback and who sham, hidden from those who run the scan.
//!
//! Someone who does not run the scan seals one assignment for each participant. The file is text
//! (hexadecimal), equally long for each arm, and opens only with the study's key, 32 bytes in a file
//! of their own:
//!
//! ```text
//! sealed     = assignment XOR stream(key, participant, salt)
//! commitment = mac(key, participant, salt, assignment)
//! ```
//!
//! `stream` and `mac` are keyed BLAKE3 with two keys that are derived from the study's key. The
//! commitment shows later, to anyone who is given the key, that the assignment was not exchanged; it
//! also tells a file that was changed, or another key. The salt makes two files of one arm differ.
//! A salt must be used once only: two files of one participant with one salt show whether their arms
//! are equal.
//!
//! This protects against a look, and against a file that is passed on. It does not protect against
//! an operator who has the key file and wants to know: the daemon needs the key to run.
//!
//! Each file is used for one session. The daemon writes beside the file which session used it and
//! gives that name to [`SealedAssignment::open`], which refuses another session. The same session
//! may open it again, after a restart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the format.
const VERSION: u32 = 1;
const STREAM: &str = "corticast 2026 sealed assignment: stream";
const MAC: &str = "corticast 2026 sealed assignment: commitment";
const SCRAMBLE: &str = "corticast 2026 sealed assignment: scramble";
/// Bytes of an assignment; equal for all, so that the length tells nothing.
const LENGTH: usize = 16;

/// Key of a study. Its `Debug` does not show it.
#[derive(Clone)]
pub struct StudyKey([u8; 32]);

/// Which feedback a participant gets.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The participant's own.
    Real,
    /// What another participant saw.
    Yoked,
    /// What another participant saw, its blocks exchanged.
    Scrambled,
}

/// An opened assignment. It has no `Display`, and its `Debug` does not tell the arm, so that it does
/// not get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    arm: Arm,
    seed: [u8; 32],
}

/// A sealed assignment, as it is in its file. See the module docs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedAssignment {
    /// Version of the format.
    pub version: u32,
    /// Pseudonym of the participant.
    pub participant: String,
    /// 16 bytes, hexadecimal.
    pub salt: String,
    /// 32 bytes, hexadecimal.
    pub commitment: String,
    /// 16 bytes, hexadecimal.
    pub sealed: String,
}

/// Why an assignment does not open. No message tells the arm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A file of another version.
    #[error("the sealed assignment has version {0}, expected {VERSION}")]
    Version(u32),
    /// Text that is not so many bytes.
    #[error("`{field}` has {found} characters, expected {expected} hexadecimal digits")]
    Hex {
        /// Name of the field.
        field: &'static str,
        /// Characters found.
        found: usize,
        /// Digits expected.
        expected: usize,
    },
    /// The file of someone else.
    #[error("the sealed assignment is for participant `{found}`, the session is of `{expected}`")]
    Participant {
        /// Participant of the file.
        found: String,
        /// Participant of the session.
        expected: String,
    },
    /// Another session used it.
    #[error(
        "the sealed assignment was used by session `{used_by}` and is for one session only; \
         session `{session}` needs another one"
    )]
    Used {
        /// The session that used it.
        used_by: String,
        /// The session that wants to.
        session: String,
    },
    /// The key is another one, or the file was changed.
    #[error(
        "the sealed assignment of `{0}` does not open: it was changed, or sealed with another key; \
         expected the file and the key that were made together"
    )]
    Commitment(String),
}

impl StudyKey {
    /// A key of 64 hexadecimal digits; space around them is ignored.
    ///
    /// # Errors
    ///
    /// Fails when the text is anything else. The error does not show it.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        Ok(Self(bytes("key", text.trim())?))
    }

    /// A key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Keyed hash of these parts. Each part comes with its length, so that no two lists of parts
    /// give the same bytes.
    fn hasher(&self, purpose: &str, parts: &[&[u8]]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(purpose, &self.0));
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher
    }
}

impl fmt::Debug for StudyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StudyKey")
    }
}

impl Assignment {
    /// Which feedback the participant gets. For unblinding; nothing else may show it.
    #[must_use]
    pub fn arm(&self) -> Arm {
        self.arm
    }

    /// Seed of the scrambled order.
    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assignment(sealed)")
    }
}

impl SealedAssignment {
    /// Seals the arm of a participant. `salt` must be random and used once.
    #[must_use]
    pub fn seal(participant: &str, arm: Arm, key: &StudyKey, salt: [u8; 16]) -> Self {
        let mut assignment = [0; LENGTH];
        assignment[0] = match arm {
            Arm::Real => 0,
            Arm::Yoked => 1,
            Arm::Scrambled => 2,
        };
        Self {
            version: VERSION,
            participant: participant.to_owned(),
            commitment: hex(commitment(key, participant, &salt, &assignment).as_bytes()),
            sealed: hex(&with_stream(key, participant, &salt, assignment)),
            salt: hex(&salt),
        }
    }

    /// Opens the assignment for a session of this participant. `used_by` is the session that the
    /// mark beside the file names, if there is one.
    ///
    /// # Errors
    ///
    /// Fails when another session used it, when it is for someone else, and when it was changed or
    /// sealed with another key.
    pub fn open(
        &self,
        key: &StudyKey,
        participant: &str,
        session: &str,
        used_by: Option<&str>,
    ) -> Result<Assignment, SealError> {
        if self.version != VERSION {
            return Err(SealError::Version(self.version));
        }
        if self.participant != participant {
            let (found, expected) = (self.participant.clone(), participant.to_owned());
            return Err(SealError::Participant { found, expected });
        }
        if let Some(used_by) = used_by.filter(|used_by| *used_by != session) {
            let (used_by, session) = (used_by.to_owned(), session.to_owned());
            return Err(SealError::Used { used_by, session });
        }
        let salt: [u8; 16] = bytes("salt", &self.salt)?;
        let committed = blake3::Hash::from_bytes(bytes("commitment", &self.commitment)?);
        let sealed: [u8; LENGTH] = bytes("sealed", &self.sealed)?;
        let assignment = with_stream(key, participant, &salt, sealed);
        let refused = || SealError::Commitment(participant.to_owned());
        // Comparing hashes of this type takes the same time wherever they differ.
        if commitment(key, participant, &salt, &assignment) != committed {
            return Err(refused());
        }
        let arm = match assignment[0] {
            0 => Arm::Real,
            1 => Arm::Yoked,
            2 => Arm::Scrambled,
            _ => return Err(refused()),
        };
        let seed = key.hasher(SCRAMBLE, &[participant.as_bytes(), &salt]).finalize();
        Ok(Assignment { arm, seed: *seed.as_bytes() })
    }
}

fn commitment(key: &StudyKey, participant: &str, salt: &[u8], assignment: &[u8]) -> blake3::Hash {
    key.hasher(MAC, &[participant.as_bytes(), salt, assignment]).finalize()
}

/// The bytes XOR the stream: seals what is open and opens what is sealed.
fn with_stream(
    key: &StudyKey,
    participant: &str,
    salt: &[u8],
    mut bytes: [u8; LENGTH],
) -> [u8; LENGTH] {
    let mut stream = [0; LENGTH];
    key.hasher(STREAM, &[participant.as_bytes(), salt]).finalize_xof().fill(&mut stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], SealError> {
    let wrong = || SealError::Hex { field, found: text.chars().count(), expected: 2 * N };
    let digit = |c: u8| char::from(c).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(wrong());
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (digit(*high).ok_or_else(wrong)?, digit(*low).ok_or_else(wrong)?);
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> StudyKey {
        StudyKey::from_bytes([7; 32])
    }

    fn sealed(arm: Arm) -> SealedAssignment {
        SealedAssignment::seal("sub-01", arm, &key(), [9; 16])
    }

    #[test]
    fn an_assignment_opens_with_its_key_and_tells_nothing_before() {
        let arms = [Arm::Real, Arm::Yoked, Arm::Scrambled];
        for arm in arms {
            let opened = sealed(arm).open(&key(), "sub-01", "one", None).unwrap();
            assert!(opened.arm() == arm);
            assert_eq!(format!("{opened:?} {:?}", key()), "Assignment(sealed) StudyKey");
        }
        let lengths = arms.map(|arm| serde_json::to_string(&sealed(arm)).unwrap().len());
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        let other_salt = SealedAssignment::seal("sub-01", Arm::Real, &key(), [8; 16]);
        assert_ne!(other_salt.sealed, sealed(Arm::Real).sealed);
    }

    #[test]
    fn a_file_is_for_one_session_and_one_participant() {
        let file = sealed(Arm::Yoked);
        assert!(file.open(&key(), "sub-01", "one", Some("one")).is_ok(), "after a restart");
        let message = |found: Result<Assignment, SealError>| found.unwrap_err().to_string();
        assert_eq!(
            message(file.open(&key(), "sub-01", "two", Some("one"))),
            "the sealed assignment was used by session `one` and is for one session only; session \
             `two` needs another one"
        );
        assert_eq!(
            message(file.open(&key(), "sub-02", "two", None)),
            "the sealed assignment is for participant `sub-01`, the session is of `sub-02`"
        );
    }

    #[test]
    fn a_key_is_64_digits_and_an_error_does_not_show_it() {
        let text = format!(" {} \n", "07".repeat(32));
        assert_eq!(StudyKey::from_hex(&text).unwrap().0, [7; 32]);
        let error = StudyKey::from_hex("secret").unwrap_err().to_string();
        assert_eq!(error, "`key` has 6 characters, expected 64 hexadecimal digits");
    }

    proptest! {
        /// A file with any change, or another key, does not open.
        #[test]
        fn a_changed_file_does_not_open(field in 0_usize..3, at in 0_usize..32, other in "[0-9a-f]") {
            let mut file = sealed(Arm::Real);
            let text = [&mut file.salt, &mut file.commitment, &mut file.sealed].into_iter().nth(field);
            let text = text.unwrap();
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            prop_assert!(file.open(&key(), "sub-01", "one", None).is_err());
            let other_key = StudyKey::from_bytes([at as u8 + 8; 32]);
            prop_assert!(sealed(Arm::Real).open(&other_key, "sub-01", "one", None).is_err());
        }

        /// Any text in a file gives an error.
        #[test]
        fn foreign_text_never_panics(salt: String, commitment: String, sealed: String) {
            let file = SealedAssignment {
                version: 1, participant: "sub-01".to_owned(), salt, commitment, sealed,
            };
            prop_assert!(file.open(&key(), "sub-01", "one", None).is_err());
        }
    }
}
