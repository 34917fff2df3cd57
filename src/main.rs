//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use covalign::{cli, error};

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("covalign: {}", error::one_line(&error));
            error::exit_code(&error).into()
        }
    }
}
