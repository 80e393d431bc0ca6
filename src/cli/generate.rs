//! `drave generate`: what `man/` and `completions/` hold, a unit for systemd, and what watches a store.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Command, CommandFactory as _, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use super::context::Context;
use super::exit::{Exit, stdout_failed};
use super::{Cli, Result, metrics, systemd};

/// Generate man pages, shell completions, and what runs and watches drave
#[derive(ClapArgs, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Man pages: the main page on stdout, or with DIR the pages of all commands, as files in there
    Man {
        /// A directory that exists
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Completions for a shell, on stdout
    Completions {
        /// Which one
        shell: Shell,
    },
    /// A dashboard for Grafana, of what `drave metrics` prints, on stdout
    Grafana {
        /// What all names begin with
        #[arg(long, value_name = "NAME", default_value = "drave", value_parser = metrics::namespace)]
        namespace: String,
    },
    /// Alert rules for Prometheus, over what `drave metrics` prints, on stdout
    Alerts {
        /// What all names begin with
        #[arg(long, value_name = "NAME", default_value = "drave", value_parser = metrics::namespace)]
        namespace: String,
    },
    /// A unit for systemd that runs `drave serve`, on stdout
    ///
    /// Without a store of your own it has /var/lib/drave, and a user of its own who exists only while it runs. A store that is named
    /// somewhere else is served by its owner.
    Systemd {
        /// What stands behind `drave serve`, as in: -- --resp 127.0.0.1:7379
        #[arg(last = true, value_name = "OPTIONS")]
        words: Vec<String>,
    },
}

const EXAMPLES: &str = "\
Examples:
  drave generate man | man -l -
  drave generate man ~/.local/share/man/man1
  drave generate completions bash > ~/.local/share/bash-completion/completions/drave
  drave generate completions zsh > ~/.zfunc/_drave
  drave generate completions fish > ~/.config/fish/completions/drave.fish
  drave generate alerts > /etc/prometheus/rules.d/drave.yml
  drave generate systemd -- --resp 127.0.0.1:7379 > /etc/systemd/system/drave.service";

/// Runs the verb.
pub(super) fn run(args: &Args, context: &Context) -> Result {
    match &args.what {
        What::Man { directory: Some(directory) } => {
            let cannot = || format!("cannot write man pages into {}", directory.display());
            write_pages(&tree(), directory).with_context(cannot)?;
        }
        What::Man { directory: None } => page(&tree()).render(&mut std::io::stdout().lock()).map_err(stdout_failed)?,
        What::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut tree(), "drave", &mut script);
            std::io::Write::write_all(&mut std::io::stdout().lock(), &script).map_err(stdout_failed)?;
        }
        What::Grafana { namespace } => {
            let text = metrics::dashboard::dashboard(namespace);
            std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()).map_err(stdout_failed)?;
        }
        What::Alerts { namespace } => {
            let text = metrics::alerts::rules(namespace);
            std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()).map_err(stdout_failed)?;
        }
        What::Systemd { words } => {
            let unit = systemd::unit(context.named_store()?, words)?;
            std::io::Write::write_all(&mut std::io::stdout().lock(), unit.as_bytes()).map_err(stdout_failed)?;
        }
    }
    Ok(Exit::Done)
}

/// All commands, with the options that each has from above.
fn tree() -> Command {
    let mut tree = Cli::command().disable_help_subcommand(true);
    tree.build();
    tree
}

fn page(command: &Command) -> Man {
    Man::new(command.clone()).source(concat!("drave ", env!("CARGO_PKG_VERSION"))).manual("drave")
}

fn write_pages(command: &Command, directory: &Path) -> std::io::Result<()> {
    page(command).generate_to(directory)?;
    command.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| write_pages(command, directory))
}
