//! Asking before something is destroyed.

use std::io::{IsTerminal as _, Write as _};

use super::Result;
use super::escape;
use super::exit::{Exit, Failure};

/// That a person may be asked, or has agreed beforehand.
pub(crate) struct Consent {
    given: bool,
}

impl Consent {
    /// `--yes` was given, or somebody is there to be asked. Call it before anything is done.
    pub(crate) fn needed(yes: bool) -> Result<Consent> {
        if yes || (std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Ok(Consent { given: yes });
        }
        let sentence = "this destroys data, and there is no terminal to ask at; nothing was done, add --yes if you mean it";
        Err(Failure::new(Exit::Usage, sentence).into())
    }

    /// Asks, unless that is settled. A no is an error.
    pub(crate) fn ask(&self, question: &str) -> Result<()> {
        if self.given {
            return Ok(());
        }
        let mut stderr = std::io::stderr().lock();
        // Who cannot read the question cannot answer it either.
        let asked = write!(stderr, "{} [y/N] ", escape::escape(question.as_bytes())).and_then(|()| stderr.flush());
        let mut answer = String::new();
        let answered = asked.and_then(|()| std::io::stdin().read_line(&mut answer));
        let agreed = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if answered.is_ok() && agreed {
            Ok(())
        } else {
            Err(Failure::new(Exit::Failed, "not confirmed; nothing was done").into())
        }
    }
}
