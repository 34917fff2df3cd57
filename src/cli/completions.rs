//! `covalign completions`.

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::out;

/// Print what a shell needs to complete commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  covalign completions bash > ~/.local/share/bash-completion/completions/covalign
  covalign completions zsh > ~/.zfunc/_covalign")]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub fn run(args: CompletionsArgs, command: &mut clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "covalign", &mut script);
    out::print(&script);
    Ok(())
}
