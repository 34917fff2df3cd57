//! Parse, dispatch, exit code.

use clap::Parser;
use covalign::cli::{self, out};
use covalign::train::interrupt;
use covalign::{error, libtorch};

fn main() {
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
    libtorch::leave(match done.and_then(|()| out::finish()) {
        Ok(()) => 0,
        Err(error) => {
            if !error.is::<error::Said>() {
                out::error_line(format_args!("covalign: {}", error::one_line(&error)));
            }
            error::exit_code(&error)
        }
    })
}
