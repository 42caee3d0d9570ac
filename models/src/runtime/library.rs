//! Finds ONNX Runtime's library.
//!
//! The library is not linked: it is about 35 MB for the CPU and 2 GB with CUDA, and a lab
//! chooses which. `make runtime` puts it into the git-ignored folder `.runtime`. The search
//! order is:
//!
//! 1. the file that `CORTICAST_ONNXRUNTIME` names,
//! 2. `.runtime/libonnxruntime.so` in the executable's folder or any folder above it,
//! 3. the same in the working directory or any folder above it.
//!
//! If the variable names a file that does not exist, the search stops with an error: the user
//! asked for that library and must not get another one.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// Environment variable that names the library.
pub const LIBRARY_VARIABLE: &str = "CORTICAST_ONNXRUNTIME";
/// Where `make runtime` puts the library, from the repository's root.
const LIBRARY_IN_FOLDER: &str = ".runtime/libonnxruntime.so";

/// Why ONNX Runtime's library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The variable names a file that does not exist.
    #[error("{LIBRARY_VARIABLE} names {path}, which is not a file; expected libonnxruntime.so")]
    NoSuchFile {
        /// The path in the variable.
        path: PathBuf,
    },
    /// The search found no library.
    #[error(
        "found no {LIBRARY_IN_FOLDER} in or above {}; run `make runtime`, or set \
         {LIBRARY_VARIABLE} to the library", .looked_from.join(" or ")
    )]
    NotFound {
        /// The folders where the search started.
        looked_from: Vec<String>,
    },
    /// The file exists but cannot be loaded as ONNX Runtime.
    #[error("{path} cannot be used as ONNX Runtime: {reason}; run `make runtime` for a fresh one")]
    Unusable {
        /// The library's file.
        path: PathBuf,
        /// The loader's message; it holds both versions if they do not match.
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
    /// How the library was built, in its own words.
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
/// Fails when there is no library or the variable names a missing file; the message says what
/// to do.
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
        // Absolute, because the loader looks a bare file name up on its own search path.
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

/// The other libraries in ONNX Runtime's folder (CUDA, cuDNN), in a fixed order. ONNX Runtime's
/// own provider libraries are left out, because it loads those itself.
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
    fn a_variable_that_names_a_missing_file_is_an_error() {
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
    fn side_libraries_leave_out_those_of_onnx_runtime() {
        let (root, _) = checkout();
        let runtime = root.path().join(".runtime");
        for name in ["libcudnn.so.9", "libcublas.so", "libonnxruntime_providers_cuda.so", "notes"] {
            std::fs::write(runtime.join(name), b"").unwrap();
        }
        let side = side_libraries(&root.path().join(LIBRARY_IN_FOLDER));
        assert_eq!(side, [runtime.join("libcublas.so"), runtime.join("libcudnn.so.9")]);
    }
}
