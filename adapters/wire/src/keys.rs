//! CURVE keys as files: `NAME.key` stays on its machine, `NAME.pub` is copied to the other one.
//!
//! A machine may connect if its `.pub` file is in the daemon's allow-list folder. The files have
//! the format of ZeroMQ's own tools (`public-key = "…"`), so `zmq.auth` in Python reads them too.
//! A `.key` file that other users can read is refused.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    files,
    zmq::{CurveKeypair, CurvePublicKey, CurveSecretKey},
};

/// Longest accepted key file, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Why reading or writing a key failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system refuses to read or write a file.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A key of this name exists. Overwriting it would lock out the machines that rely on it.
    #[error("{0} exists and is not overwritten; choose another name or move the file away")]
    Exists(PathBuf),
    /// Other users can read the file of a secret key.
    #[error("{path} has mode {mode:03o}, so other users can read it; run `chmod 600 {path}`")]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file contains no key, or an invalid one.
    #[error("{path} holds no valid {wanted}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which key was expected.
        wanted: &'static str,
        /// What was found.
        reason: String,
    },
    /// Text is not a key.
    #[error("expected a key of 40 Z85 characters, got invalid text of {0} characters")]
    Text(usize),
    /// An allow-list folder contains no public key.
    #[error("{0} holds no public key, so no client could connect; add a client's .pub file")]
    Nobody(PathBuf),
}

/// A machine's public key. Safe to show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub(crate) CurvePublicKey);

/// A machine's key pair. The secret appears in no output except the file it is written to.
#[derive(Clone)]
pub struct KeyPair(pub(crate) CurveKeypair);

impl PublicKey {
    /// Reads Z85 text.
    ///
    /// # Errors
    ///
    /// Fails unless the text is 40 characters of Z85.
    pub fn from_z85(text: &str) -> Result<Self, KeyError> {
        CurvePublicKey::from_z85(text).map(Self).map_err(|_| KeyError::Text(text.chars().count()))
    }

    /// Z85 text, 40 characters.
    #[must_use]
    pub fn to_z85(&self) -> String {
        self.0.to_z85()
    }

    /// Reads the public key from a `.pub` or `.key` file.
    ///
    /// # Errors
    ///
    /// Fails when the file is unreadable or contains no public key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = read_text(path)?;
        let value = field(&text, path, "public-key")?;
        Self::from_z85(value).map_err(|error| malformed(path, "public-key", &error))
    }
}

/// The Z85 text.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_z85())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Shows the public half only.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

impl KeyPair {
    /// A new pair from the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self(CurveKeypair::generate())
    }

    /// The half that may be shown.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public)
    }

    /// Writes `STEM.key` (both halves, readable by its owner only) and `STEM.pub`; returns their
    /// paths.
    ///
    /// # Errors
    ///
    /// Fails when either file exists or writing fails. In that case it leaves neither behind.
    pub fn write_files(&self, stem: &Path) -> Result<(PathBuf, PathBuf), KeyError> {
        let named = |extension: &str| {
            let mut name = stem.as_os_str().to_owned();
            name.push(extension);
            PathBuf::from(name)
        };
        let (own, public) = (named(".key"), named(".pub"));
        let line = format!("curve\n    public-key = \"{}\"\n", self.public());
        let secret = format!(
            "# CURVE key pair of Corticast. Anyone who has this file can act as this machine.\n\
             {line}    secret-key = \"{}\"\n",
            self.0.secret.to_z85()
        );
        let shown = format!("# CURVE public key of Corticast. Copy it to the other side.\n{line}");
        write_new(&own, 0o600, &secret)?;
        if let Err(error) = write_new(&public, 0o644, &shown) {
            fs::remove_file(&own).map_err(|source| KeyError::Io { path: own, source })?;
            return Err(error);
        }
        Ok((own, public))
    }

    /// Reads a `.key` file.
    ///
    /// # Errors
    ///
    /// Fails when other users can read the file, or when it contains no matching key pair.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let mode = fs::metadata(path)
            .map_err(|source| KeyError::Io { path: path.to_owned(), source })?
            .mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Readable { path: path.to_owned(), mode: mode & 0o777 });
        }
        let text = read_text(path)?;
        let secret = CurveSecretKey::from_z85(field(&text, path, "secret-key")?)
            .map_err(|_| malformed(path, "secret-key", &"it is not 40 characters of Z85"))?;
        let public = secret.derive_public();
        if PublicKey::read(path)?.0 != public {
            return Err(malformed(path, "key pair", &"its public and secret key do not match"));
        }
        Ok(Self(CurveKeypair { public, secret }))
    }
}

/// Keys of the clients that may connect: those in these `.pub` files, and in all `*.pub` files of
/// these folders.
///
/// # Errors
///
/// Fails when a file contains no public key, or a folder contains no `.pub` file.
pub fn allow_list<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<PublicKey>, KeyError> {
    let mut allowed = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        if !path.is_dir() {
            allowed.push(PublicKey::read(path)?);
            continue;
        }
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let before = allowed.len();
        for entry in fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            if file.extension().is_some_and(|extension| extension == "pub") {
                allowed.push(PublicKey::read(&file)?);
            }
        }
        if allowed.len() == before {
            return Err(KeyError::Nobody(path.to_owned()));
        }
    }
    Ok(allowed)
}

fn malformed(path: &Path, wanted: &'static str, reason: &dyn fmt::Display) -> KeyError {
    KeyError::Malformed { path: path.to_owned(), wanted, reason: reason.to_string() }
}

fn read_text(path: &Path) -> Result<String, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    files::read_text(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge | ErrorKind::InvalidData => malformed(path, "key", &error),
        _ => io(error),
    })
}

fn field<'a>(text: &'a str, path: &Path, key: &'static str) -> Result<&'a str, KeyError> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
        .map(|value| value.trim().trim_matches('"'))
        .ok_or_else(|| malformed(path, key, &format!("there is no line `{key} = \"…\"`")))
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            KeyError::Exists(path.to_owned())
        } else {
            KeyError::Io { path: path.to_owned(), source }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_pair_reads_back_from_files_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate();
        let (own, public) = pair.write_files(&folder.path().join("scanner.room1")).unwrap();
        assert!(own.ends_with("scanner.room1.key"));
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o600);
        assert_eq!(KeyPair::read(&own).unwrap().public(), pair.public());
        assert_eq!(PublicKey::read(&public).unwrap(), pair.public());
        assert!(!fs::read_to_string(&public).unwrap().contains("secret"));
    }

    #[test]
    fn an_existing_key_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("a");
        let pair = KeyPair::generate();
        pair.write_files(&stem).unwrap();
        let error = KeyPair::generate().write_files(&stem).unwrap_err();
        assert!(matches!(error, KeyError::Exists(_)), "{error}");
        fs::remove_file(folder.path().join("a.key")).unwrap();
        KeyPair::generate().write_files(&stem).unwrap_err();
        assert!(!folder.path().join("a.key").exists(), "no half of a pair is left behind");
        assert_eq!(PublicKey::read(&folder.path().join("a.pub")).unwrap(), pair.public());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (own, _) = KeyPair::generate().write_files(&folder.path().join("a")).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
        let message = KeyPair::read(&own).unwrap_err().to_string();
        assert!(message.contains("mode 644") && message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn a_secret_shows_in_no_output() {
        let pair = KeyPair::generate();
        let secret = pair.0.secret.to_z85();
        assert!(!format!("{pair:?}").contains(&secret));
        assert!(format!("{pair:?}").contains(&pair.public().to_z85()));
    }

    #[test]
    fn the_allow_list_is_every_pub_file_and_never_empty() {
        let folder = tempfile::tempdir().unwrap();
        let error = allow_list(&[folder.path()]).unwrap_err();
        assert!(error.to_string().contains("no client could connect"), "{error}");
        let pairs = [KeyPair::generate(), KeyPair::generate()];
        for (name, pair) in ["a", "b"].iter().zip(&pairs) {
            pair.write_files(&folder.path().join(name)).unwrap();
        }
        let allowed = allow_list(&[folder.path()]).unwrap();
        assert_eq!(allowed.len(), 2);
        assert!(pairs.iter().all(|pair| allowed.contains(&pair.public())));
        fs::write(folder.path().join("c.pub"), "no key").unwrap();
        let error = allow_list(&[folder.path()]).unwrap_err();
        assert!(error.to_string().contains("c.pub holds no valid public-key"), "{error}");
    }

    #[test]
    fn halves_of_two_pairs_are_no_pair() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (KeyPair::generate(), KeyPair::generate());
        let (own, _) = a.write_files(&folder.path().join("a")).unwrap();
        let mixed =
            fs::read_to_string(&own).unwrap().replace(&a.public().to_z85(), &b.public().to_z85());
        fs::write(&own, mixed).unwrap();
        let message = KeyPair::read(&own).unwrap_err().to_string();
        assert!(message.contains("do not match"), "{message}");
    }
}
