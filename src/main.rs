//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use covalign::cli::{self, out};
use covalign::error;
use covalign::train::interrupt;

fn main() -> ExitCode {
    // Where it cannot be caught, it ends the process as it always did.
    let _ = interrupt::outlive_full_files();
    let done = match cli::Arguments::try_parse() {
        Ok(arguments) => cli::run(arguments),
        Err(wrong) if wrong.use_stderr() => wrong.exit(),
        Err(help) => {
            out::keep(help.print());
            Ok(())
        }
    };
    match done.and_then(|()| out::finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::error_line(format_args!("covalign: {}", error::one_line(&error)));
            error::exit_code(&error).into()
        }
    }
}
