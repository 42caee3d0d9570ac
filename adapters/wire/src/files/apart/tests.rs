use std::os::unix::fs::symlink;

use super::*;

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("corticast-apart-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn refusal(inputs: &[&Path], outputs: &[(&str, &Path, Kind)]) -> Option<String> {
    let mut apart = Apart::default();
    inputs.iter().for_each(|path| apart.input("the input", path));
    outputs.iter().for_each(|(what, path, kind)| apart.output(*what, path, *kind));
    apart.check().err().map(|error| error.to_string())
}

#[test]
fn an_output_is_no_input_under_whatever_name() {
    let folder = Folder::new("input");
    let (input, model) = (folder.path("a.mcap"), folder.path("model"));
    fs::write(&input, "a").unwrap();
    fs::create_dir_all(model.join("nets")).unwrap();
    fs::write(model.join("nets/b.onnx"), "b").unwrap();
    fs::write(folder.path("other"), "c").unwrap();
    symlink(&input, folder.path("soft")).unwrap();
    fs::hard_link(&input, folder.path("hard")).unwrap();
    fs::hard_link(model.join("nets/b.onnx"), folder.path("net")).unwrap();
    fs::hard_link(&input, folder.path("new.part")).unwrap();
    for name in ["a.mcap", "./model/../a.mcap", "soft", "hard", "net", "model/nets/b.onnx", "new"] {
        let refused = refusal(&[&input, &model], &[("--out", &folder.path(name), Kind::File)]);
        let refused = refused.unwrap_or_else(|| panic!("{name} is accepted"));
        assert!(refused.starts_with("--out is ") && refused.contains("the input "), "{refused}");
    }
    for name in ["other", "b", "model/new", "no/folder"] {
        let free = refusal(&[&input, &model], &[("--out", &folder.path(name), Kind::File)]);
        assert_eq!(free, None, "{name}");
    }
}

#[test]
fn two_outputs_are_two_files() {
    let folder = Folder::new("twice");
    let path = |name: &str| folder.path(name);
    symlink("made.later", path("soft")).unwrap();
    fs::create_dir(path("d")).unwrap();
    for (one, other) in [
        ("new", "new"),
        ("new", "./d/../new"),
        ("made.later", "soft"),
        ("new", "new.part"),
        ("no/folder/a", "no/folder/a"),
    ] {
        let (one_path, other_path) = (path(one), path(other));
        let outputs = [("--one", &*one_path, Kind::File), ("--other", &*other_path, Kind::File)];
        let refused = refusal(&[], &outputs);
        let refused = refused.unwrap_or_else(|| panic!("{one} and {other} are accepted"));
        assert!(refused.starts_with("--one and --other are both "), "{refused}");
    }
    let (a, b, inside) = (path("a"), path("b"), path("a/film.mp4"));
    assert_eq!(refusal(&[], &[("--one", &a, Kind::File), ("--other", &b, Kind::File)]), None);
    for outputs in [
        [("--png", a.as_path(), Kind::NewFolder), ("--film", inside.as_path(), Kind::File)],
        [("--film", inside.as_path(), Kind::File), ("--png", a.as_path(), Kind::NewFolder)],
    ] {
        let refused = refusal(&[], &outputs).unwrap();
        assert!(refused.starts_with("--film is ") && refused.contains("of --png"), "{refused}");
    }
}

#[test]
fn an_output_that_is_no_file_is_named() {
    let folder = Folder::new("kind");
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let of = |path: &Path, kind| refusal(&[], &[("--out", path, kind)]).unwrap_or_default();
    for kind in [Kind::File, Kind::Stream] {
        assert!(of(&pipe, kind).ends_with("it is a pipe, expected a regular file"));
        assert!(of(&folder.0, kind).ends_with("it is a folder, expected a regular file"));
    }
    assert!(of(Path::new("/dev/null"), Kind::File).contains("it is a device"));
    assert_eq!(of(Path::new("/dev/null"), Kind::Stream), "");
    let both = [("--a", Path::new("/dev/full"), Kind::Stream)];
    assert_eq!(refusal(&[Path::new("/dev/full")], &both), None);
}
