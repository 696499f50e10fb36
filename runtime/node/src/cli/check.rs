//! `check`: compiles offline.

use std::{fs, io::Read, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use super::fail;
use crate::coordinator::compile;

/// Compiles a SQL file without touching any table, and prints its plan, or each error with the line it is in.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  streamjob-runtime check job.sql\n  streamjob-runtime check - --format json < job.sql")]
pub(super) struct CheckArgs {
    /// File with the SQL text; `-` reads standard input.
    file: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: one object.
    Json,
}

pub(super) fn main(args: &CheckArgs) -> ExitCode {
    let name = args.file.display().to_string();
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(error) => return fail(format!("cannot read {name}: {error}")),
    };
    match compile(&text) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

/// The text of a file, or of standard input for `-`.
pub(super) fn read(file: &std::path::Path) -> std::io::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}
