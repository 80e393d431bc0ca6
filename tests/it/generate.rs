//! `man/` and `completions/` hold what the binary prints.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Store, drave};

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
fn a_unit_lets_serve_write_where_its_words_say_and_words_that_it_would_refuse_are_refused() {
    let store = Store::new();
    let with = |words: &[&str]| store.run(&[&["generate", "systemd", "--"], words].concat());
    let unit = with(&["--snapshot-every", "1h", "--snapshot-to", "/backup/of drave"]);
    assert!(unit.stdout().contains("\nReadWritePaths=\"/backup/of drave\"\n"), "{}", unit.stdout());
    for words in [&["--bogus"][..], &["--snapshot-every", "1h"], &["--password-file", "pw"]] {
        let ran = with(words);
        assert_eq!(ran.code(), 2, "{words:?}: {}", ran.stderr());
        assert!(ran.stderr().contains("serve would not start with these words: "), "{}", ran.stderr());
    }
}

#[test]
fn a_unit_for_systemd_runs_this_binary_on_this_store_and_lets_it_do_nothing_else() {
    let store = Store::new();
    let unit = |words: &[&str]| String::from_utf8(store.ok(&[&["generate", "systemd"], words].concat())).expect("text");
    let text = unit(&["--", "--resp", "127.0.0.1:7379", "--password-file", "/a b%"]);
    let binary = std::path::absolute(env!("CARGO_BIN_EXE_drave")).expect("a path");
    let path = store.path().display().to_string();
    let line = |wanted: &str| assert!(text.lines().any(|line| line == wanted), "{wanted} is not in\n{text}");
    let options = "serve --resp 127.0.0.1:7379 --password-file \"/a b%%\"";
    line(&format!("ExecStart={} --store {path} {options}", binary.display()));
    line(&format!("ReadWritePaths={path}"));
    for wanted in ["Type=notify", "Restart=on-failure", "LimitNOFILE=524288", "ProtectSystem=strict", "NoNewPrivileges=yes"] {
        line(wanted);
    }
    // What it needs: the boot's id is below /proc/sys, and a store may be in a home or below /tmp.
    assert!(!text.contains("ProcSubset") && !text.contains("ProtectHome=yes") && !text.contains("PrivateNetwork"));
    assert_eq!(text.contains("PrivateTmp"), !path.starts_with("/tmp"));
    let own = drave(&["generate", "systemd"]).output().expect("runs");
    let own = String::from_utf8(own.stdout).expect("text");
    if !Path::new("/var/lib/drave").exists() {
        for wanted in ["DynamicUser=yes", "StateDirectory=drave", "StateDirectoryMode=0700"] {
            assert!(own.lines().any(|line| line == wanted), "{own}");
        }
    }
    assert!(own.contains(" --store /var/lib/drave serve\n"));
    // As systemd itself sees it.
    if std::process::Command::new("systemd-analyze").arg("--version").output().is_ok() {
        for (name, text) in [("named.service", &text), ("own.service", &own)] {
            let file = store.beside().join(name);
            std::fs::write(&file, text).expect("written");
            let checked = std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("runs");
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(!said.contains(name), "{said}");
        }
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
