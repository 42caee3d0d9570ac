//! Where ONNX Runtime's library is.
//!
//! The library is not linked: it is some 35 MB for the CPU and 2 GB with CUDA, and a lab
//! chooses which. `make runtime` puts it into the git-ignored folder `.runtime`. It is looked
//! for in this order:
//!
//! 1. the file that `CORTICAST_ONNXRUNTIME` names,
//! 2. `.runtime/libonnxruntime.so` in the executable's folder or one above it,
//! 3. the same in the working directory or one above it.
//!
//! A variable that names no file is an error and not a reason to look further: somebody wanted
//! that very library.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// Environment variable that names the library.
pub const LIBRARY_VARIABLE: &str = "CORTICAST_ONNXRUNTIME";
/// Where `make runtime` puts the library, from the repository's root.
const LIBRARY_IN_FOLDER: &str = ".runtime/libonnxruntime.so";

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The variable names no file.
    #[error("{LIBRARY_VARIABLE} names {path}, which is no file; expected libonnxruntime.so")]
    NoSuchFile {
        /// What it names.
        path: PathBuf,
    },
    /// No library anywhere.
    #[error(
        "found no {LIBRARY_IN_FOLDER} in or above {}; run `make runtime`, or set \
         {LIBRARY_VARIABLE} to the library", .looked_from.join(" or ")
    )]
    NotFound {
        /// The folders that the search began in.
        looked_from: Vec<String>,
    },
    /// There is a file and it is not a library that can be used.
    #[error("{path} cannot be used as ONNX Runtime: {reason}; run `make runtime` for a fresh one")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the loader said, with the versions found and expected where it is that.
        reason: String,
    },
}

/// The library in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// Its file.
    pub path: PathBuf,
    /// Its major and minor version, e.g. `1.32`.
    pub version: String,
    /// What the library says of how it was built.
    pub build: String,
}

impl fmt::Display for RuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ONNX Runtime {} ({})", self.version, self.path.display())
    }
}

/// Finds the library. See the module docs for where.
///
/// # Errors
///
/// Fails when there is none, or when the variable names no file; says what to do.
pub fn find_library() -> Result<PathBuf, RuntimeError> {
    let executable = std::env::current_exe().ok();
    let executable_folder = executable.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let starts: Vec<PathBuf> =
        executable_folder.into_iter().chain(std::env::current_dir().ok()).collect();
    find_library_from(std::env::var_os(LIBRARY_VARIABLE), &starts)
}

fn find_library_from(
    variable: Option<OsString>,
    starts: &[PathBuf],
) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = variable.filter(|value| !value.is_empty()).map(PathBuf::from) {
        // Absolute, because the loader takes a bare name for something on its own search path.
        let path = std::path::absolute(&path).unwrap_or(path);
        return if path.is_file() { Ok(path) } else { Err(RuntimeError::NoSuchFile { path }) };
    }
    starts
        .iter()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(LIBRARY_IN_FOLDER))
        .find(|path| path.is_file())
        .ok_or_else(|| RuntimeError::NotFound {
            looked_from: starts.iter().map(|start| start.display().to_string()).collect(),
        })
}

/// The other libraries beside ONNX Runtime's (CUDA, cuDNN), in a fixed order. ONNX Runtime's own
/// are left out: it loads them itself.
#[must_use]
pub fn side_libraries(library: &Path) -> Vec<PathBuf> {
    let Some(entries) = library.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_library = name.ends_with(".so") || name.contains(".so.");
            is_library && !name.starts_with("libonnxruntime") && path.is_file()
        })
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with an empty file where the library would be, and a folder deep inside it.
    fn checkout() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("target/release");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(root.path().join(".runtime")).unwrap();
        std::fs::write(root.path().join(LIBRARY_IN_FOLDER), b"").unwrap();
        (root, deep)
    }

    #[test]
    fn the_library_is_found_above_the_executable() {
        let (root, deep) = checkout();
        let found = find_library_from(None, &[deep]).unwrap();
        assert_eq!(found, root.path().join(LIBRARY_IN_FOLDER));
    }

    #[test]
    fn a_variable_that_names_no_file_is_not_passed_over() {
        let (root, deep) = checkout();
        let wrong = root.path().join("gone.so");
        let error = find_library_from(Some(wrong.clone().into()), &[deep]).unwrap_err();
        assert!(matches!(error, RuntimeError::NoSuchFile { path } if path == wrong));
    }

    #[test]
    fn nothing_found_says_what_to_do() {
        let empty = tempfile::tempdir().unwrap();
        let message = find_library_from(Some("".into()), &[empty.path().to_path_buf()])
            .unwrap_err()
            .to_string();
        assert!(message.contains("make runtime"), "{message}");
        assert!(message.contains(&empty.path().display().to_string()), "{message}");
    }

    #[test]
    fn only_the_libraries_of_others_lie_beside() {
        let (root, _) = checkout();
        let runtime = root.path().join(".runtime");
        for name in ["libcudnn.so.9", "libcublas.so", "libonnxruntime_providers_cuda.so", "notes"] {
            std::fs::write(runtime.join(name), b"").unwrap();
        }
        let side = side_libraries(&root.path().join(LIBRARY_IN_FOLDER));
        assert_eq!(side, [runtime.join("libcublas.so"), runtime.join("libcudnn.so.9")]);
    }
}
