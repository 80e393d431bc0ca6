//! Holds the house in shape: who may import whom, where `unsafe` and some crates may appear, and
//! how long a file may get.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A floor may import from itself and from those named.
const FLOORS: [(&str, &[&str]); 8] = [
    ("ground", &[]),
    ("codec", &["ground"]),
    ("disk", &["ground"]),
    ("log", &["ground", "codec", "disk"]),
    ("store", &["ground", "codec", "disk", "log"]),
    ("broker", &["ground", "codec", "disk", "log", "store"]),
    ("engine", &["ground", "codec", "disk", "log", "store", "broker"]),
    ("server", &["ground", "codec", "disk", "log", "store", "broker", "engine"]),
];

const GROUND: [&str; 8] = ["ids", "units", "clock", "error", "config", "job", "Error", "Result"];

/// Lines of a file before its tests.
const LINES_MAX: usize = 500;

fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file is text");
                found.insert(path.strip_prefix(&root).expect("below src").to_owned(), text);
            }
        }
    }
    assert!(found.len() > 40, "the sources were found");
    found
}

/// The floor of a file of the library; `None` for the binary's.
fn floor(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?.to_owned();
    match first.as_str() {
        "cli" | "main.rs" | "lib.rs" => None,
        file if file.ends_with(".rs") || GROUND.contains(&file) => Some("ground".to_owned()),
        folder => Some(folder.to_owned()),
    }
}

/// The text without its tests, which stand last in a file, and without comments.
fn code(text: &str) -> String {
    let before_tests = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    before_tests.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.contains("test") || name.contains("sim") || name.contains("crash") || name.contains("fake")
}

#[test]
fn no_file_imports_from_above_or_beside_its_floor() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(own) = floor(&path) else { continue };
        if is_test_file(&path) {
            continue;
        }
        let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == own) else {
            wrong.push(format!("{}: the folder is not a floor of the house", path.display()));
            continue;
        };
        let code = code(&text);
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let target = if GROUND.contains(&name.as_str()) { "ground" } else { name.as_str() };
            if target != own && !below.contains(&target) {
                wrong.push(format!("{}: {own} may not use crate::{name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules are pure: what they may use of the house, whatever their floor might.
const RULES: [(&str, &[&str]); 3] = [
    ("broker/group/", &["ids", "config", "units", "codec", "broker"]),
    ("broker/limits/", &["config", "units", "broker"]),
    ("broker/dedup.rs", &["ids", "codec"]),
];

#[test]
fn rules_know_no_lock_file_or_clock() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some((room, may)) = RULES.iter().find(|(room, _)| path.to_string_lossy().starts_with(room)) else { continue };
        let code = code(&text);
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // From their own floor only what lies in their own room.
            let own = room.trim_end_matches('/').replace('/', "::");
            if !may.contains(&name.as_str()) || (name == "broker" && !rest.starts_with(&own)) {
                wrong.push(format!("{}: a rule may not use crate::{name}", path.display()));
            }
        }
        for word in ["std::sync", "std::time::Instant", "std::thread", "tracing", "super::super"] {
            if code.contains(word) {
                wrong.push(format!("{}: a rule may not use {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where these words may appear in code, by beginning of the path.
const FENCED: [(&str, &[&str]); 9] = [
    ("unsafe ", &["disk/"]),
    ("std::fs", &["disk/", "cli/"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("indicatif", &["cli/progress.rs"]),
    ("ctrlc::", &["cli/signals.rs"]),
    ("SystemTime::now", &["clock.rs"]),
    ("env::var", &["cli/", "main.rs"]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
];

#[test]
fn fenced_words_stay_behind_their_fences() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let code = code(&text);
        for (word, homes) in FENCED {
            let at_home = homes.iter().any(|home| path.to_string_lossy().starts_with(home));
            if code.contains(word) && !at_home && !is_test_file(&path) {
                wrong.push(format!("{}: {word} belongs in {homes:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_is_one_room() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(&text).lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines before its tests", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
