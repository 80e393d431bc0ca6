//! Where the store is, what makes one, and how refusals read.

use crate::support::{Store, drave, run};

#[test]
fn only_what_writes_makes_a_store() {
    let store = Store::new();
    for words in [
        &["topic", "list"][..],
        &["topic", "show", "a"],
        &["topic", "set", "a", "durability=none"],
        &["topic", "delete", "a", "--yes"],
        &["topic", "trim", "a", "--before", "end", "--yes"],
        &["publish", "a", "--no-create", "x"],
        &["replay", "a"],
        &["tail", "a"],
    ] {
        let ran = store.run(words);
        assert_eq!(ran.code(), 11, "{words:?}: {}", ran.stderr());
        assert!(ran.stderr().starts_with("drave: there is no store at "), "{}", ran.stderr());
        assert!(!store.path().exists(), "{words:?}");
    }
    store.ok(&["topic", "create", "b"]);
    let ran = store.run(&["publish", "a", "--no-create", "x"]);
    assert_eq!((ran.code(), ran.stderr()), (3, "drave: there is no topic a\n"));
}

#[test]
fn a_directory_with_something_else_in_it_is_not_made_a_store() {
    let store = Store::new();
    std::fs::create_dir(store.path()).expect("a directory");
    std::fs::write(store.path().join("thesis.tex"), b"two years").expect("there is room");
    let ran = store.run(&["publish", "a", "x"]);
    assert_eq!(ran.code(), 11, "{}", ran.stderr());
    assert_eq!(std::fs::read_dir(store.path()).expect("it is there").count(), 1);
}

#[test]
fn the_store_is_named_by_option_before_environment_before_default() {
    let (named, elsewhere) = (Store::new(), Store::new());
    let path = named.path();
    elsewhere.ok(&["-s", path.to_str().expect("UTF-8"), "publish", "a", "x"]);
    assert!(!elsewhere.path().exists());
    let url = format!("file://{}", path.display());
    assert_eq!(elsewhere.ok(&["replay", "a", "--store", &url]), b"x\n");

    let mut command = drave(&["publish", "a", "y"]);
    command.env("XDG_DATA_HOME", elsewhere.beside());
    assert_eq!(run(command, b"").code(), 0);
    assert!(elsewhere.beside().join("drave/store.toml").exists());
    let mut command = drave(&["publish", "a", "y"]);
    command.env("HOME", elsewhere.beside()).env("XDG_DATA_HOME", "relative");
    assert_eq!(run(command, b"").code(), 0);
    assert!(elsewhere.beside().join(".local/share/drave/store.toml").exists());
    let mut command = drave(&["topic", "list"]);
    command.env_remove("HOME");
    assert_eq!(run(command, b"").code(), 2);
}

#[test]
fn other_engines_and_passwords_are_refused() {
    let store = Store::new();
    for (place, code) in [
        ("redis://localhost", 13),
        ("nats://localhost:4222", 13),
        ("unix:///run/drave.sock", 13),
        ("redis://:s3cret@localhost", 2),
        ("ftp://localhost", 2),
        ("", 2),
    ] {
        let ran = store.run(&["-s", place, "topic", "list"]);
        assert_eq!(ran.code(), code, "{place}");
        assert!(ran.stderr().starts_with("drave: ") && ran.stderr().lines().count() == 1, "{}", ran.stderr());
        assert!(!ran.stderr().contains("s3cret"));
    }
}

#[test]
fn an_error_cannot_drive_a_terminal() {
    let store = Store::new();
    store.ok(&["publish", "a", "x"]);
    for words in [&["topic", "show", "\x1b[2Jevil\nname"][..], &["--\x1b[2J"], &["topic", "set", "a", "\x1b=1"]] {
        let ran = store.run(words);
        assert!(matches!(ran.code(), 2 | 3));
        assert!(ran.stderr().starts_with("drave: "), "{}", ran.stderr());
        assert!(!ran.stderr().contains('\x1b'), "{}", ran.stderr());
    }
}

#[test]
fn verbose_shows_what_the_system_said() {
    let store = Store::new();
    std::fs::write(store.path(), b"a file").expect("there is room");
    let brief = store.run(&["publish", "a", "x"]);
    assert_eq!(brief.stderr().lines().count(), 1, "{}", brief.stderr());
    let verbose = store.run(&["-v", "publish", "a", "x"]);
    assert!(verbose.stderr().starts_with(brief.stderr()));
}

#[test]
fn words_it_does_not_know_are_a_usage_error() {
    let store = Store::new();
    for words in [&["frobnicate"][..], &[], &["publish"], &["publish", "a", "--frobnicate"], &["topic"]] {
        let ran = store.run(words);
        assert_eq!(ran.code(), 2, "{words:?}");
        assert_eq!(ran.stdout(), "");
    }
    let ran = store.run(&["--help"]);
    assert!(ran.code() == 0 && ran.stdout().contains("publish") && ran.stderr().is_empty());
    assert_eq!(store.run(&["--version"]).stdout(), format!("drave {}\n", env!("CARGO_PKG_VERSION")));
}
