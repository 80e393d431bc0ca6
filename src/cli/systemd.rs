//! A unit for systemd that runs `drave serve`, and may do nothing else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;

use super::exit::{Exit, Failure};
use super::{Result, serve};

/// Where systemd keeps what services keep.
const STATE: &str = "/var/lib";

/// What a server of a store needs no leave for. `/proc/sys` stays in sight: it tells the boot.
const HARDENING: &str = "\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
";

/// What stands behind `serve`.
#[derive(Debug, Parser)]
#[command(name = "drave serve", disable_help_flag = true)]
struct Serve {
    #[command(flatten)]
    args: serve::Args,
}

/// The directories that the words of a `serve` have it write to. They are refused if serve would refuse them, or if
/// a path in them depends on where somebody stands.
fn written_to(words: &[String]) -> Result<Vec<PathBuf>> {
    let refused = |why: String| Failure::new(Exit::Usage, format!("serve would not start with these words: {why}"));
    let serve = Serve::try_parse_from(std::iter::once("serve").chain(words.iter().map(String::as_str)));
    let serve = serve.map_err(|error| {
        let text = error.render().to_string();
        refused(text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })?;
    let mut directories = Vec::new();
    for (option, path, is_written_to) in serve.args.paths() {
        let Some(path) = path else { continue };
        if path.is_relative() {
            return Err(refused(format!("in a unit {option} takes an absolute path, not {}", path.display())).into());
        }
        directories.extend(is_written_to.then(|| path.to_owned()));
    }
    Ok(directories)
}

/// The unit's text. Without a store it gets one of its own.
pub(super) fn unit(store: Option<PathBuf>, words: &[String]) -> Result<String> {
    let mut written_to = written_to(words)?;
    let binary = std::env::current_exe().context("cannot tell where this binary is")?;
    let store = match store {
        Some(store) => std::path::absolute(&store).with_context(|| format!("cannot tell where {} is", store.display()))?,
        None => Path::new(STATE).join("drave"),
    };
    let mut command = vec![word(text_of(&binary)?), "--store".to_owned(), word(text_of(&store)?), "serve".to_owned()];
    command.extend(words.iter().map(|text| word(text)));
    Ok(format!(
        "\
[Unit]
Description=drave: durable logs, by the Redis protocol
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={}
Restart=on-failure
LimitNOFILE=524288
{}{HARDENING}
[Install]
WantedBy=multi-user.target
",
        command.join(" "),
        who_and_where(&store, &mut written_to)?
    ))
}

/// Whose process it is, and what it may write: the store, and `others`.
fn who_and_where(store: &Path, others: &mut Vec<PathBuf>) -> Result<String> {
    // Not there yet, or put there by systemd, which leads on to where only root may look.
    if let Ok(name) = store.strip_prefix(STATE)
        && !name.as_os_str().is_empty()
        && (!store.exists() || store.is_symlink())
    {
        let name = directive(text_of(name)?);
        return Ok(format!("DynamicUser=yes\nStateDirectory={name}\nStateDirectoryMode=0700\n{}", may_write(others)?));
    }
    // The owner of what is there, be it only the directory in which the store is to be.
    let owner = store.ancestors().find_map(|path| std::fs::metadata(path).ok());
    let owner = owner.with_context(|| format!("cannot tell whose {} is", store.display()))?;
    let tmp = if store.starts_with("/tmp") || store.starts_with("/var/tmp") { "" } else { "PrivateTmp=yes\n" };
    others.insert(0, store.to_owned());
    Ok(format!("User={}\nGroup={}\n{}{tmp}", owner.uid(), owner.gid(), may_write(others)?))
}

fn may_write(paths: &[PathBuf]) -> Result<String> {
    let line = |path: &PathBuf| Ok(format!("ReadWritePaths={}\n", directive(text_of(path)?)));
    paths.iter().map(line).collect()
}

fn text_of(path: &Path) -> Result<&str> {
    let refused = || Failure::new(Exit::Usage, format!("a unit cannot name {}: it is not UTF-8", path.display()));
    Ok(path.to_str().ok_or_else(refused)?)
}

/// A path in a list of paths.
fn directive(path: &str) -> String {
    word(path).replace("$$", "$")
}

/// A word of a command, as systemd reads it back.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,=+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were() {
        assert_eq!(word("/usr/bin/drave"), "/usr/bin/drave");
        assert_eq!(word(""), "\"\"");
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word(r#"50%$"\"#), r#""50%%$$\"\\""#);
        assert_eq!(directive("/a $b"), "\"/a $b\"");
    }
}
