//! `man/` and `completions/` hold what the binary prints.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::Store;

fn files_in(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        (name, std::fs::read_to_string(entry.path()).expect("text"))
    };
    entries.map(file).collect()
}

fn committed(name: &str) -> BTreeMap<String, String> {
    files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
}

#[test]
fn the_man_pages_are_those_of_this_binary() {
    let store = Store::new();
    store.ok(&["generate", "man", store.beside().to_str().expect("UTF-8")]);
    let (generated, committed) = (files_in(store.beside()), committed("man"));
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&generated), names(&committed), "run: rm man/* && cargo run -- generate man man");
    for (name, page) in &generated {
        assert!(committed.get(name) == Some(page), "man/{name} is old; run: cargo run -- generate man man");
    }
    assert_eq!(store.ok(&["generate", "man"]), generated["drave.1"].as_bytes());
}

#[test]
fn the_completions_are_those_of_this_binary() {
    let store = Store::new();
    let committed = committed("completions");
    let shells = [("bash", "drave.bash"), ("elvish", "drave.elv"), ("fish", "drave.fish"), ("zsh", "_drave")];
    assert_eq!(committed.len(), shells.len());
    for (shell, name) in shells {
        let generated = store.ok(&["generate", "completions", shell]);
        let is_same = committed.get(name).map(String::as_bytes) == Some(&generated);
        assert!(is_same, "completions/{name} is old; run: cargo run -- generate completions {shell} > completions/{name}");
    }
}

#[test]
fn every_command_explains_itself() {
    let store = Store::new();
    for page in committed("man").keys() {
        let words: Vec<&str> = page.trim_end_matches(".1").split('-').skip(1).collect();
        let ran = store.run(&[words.as_slice(), &["--help"]].concat());
        assert_eq!(ran.code(), 0, "{page}");
        assert!(ran.stdout().contains("Usage: drave"), "{page}");
    }
}
