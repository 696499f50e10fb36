//! The commands of the binary.

use std::process::ExitCode;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
