//! `check`: compiles offline.

use std::{fs, io::Read, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::fail;
use streamkeeper_coordinator::{CompileError, CompiledJob, compile};

/// Compiles a SQL file without touching any table, and prints its plan, or each error with the line
/// it is in.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  streamjob-runtime check job.sql\n  streamjob-runtime check - --format json < job.sql\n\nExit codes: 0 it compiles, 1 it does not, 2 wrong command line."
)]
pub(super) struct CheckArgs {
    /// File with the SQL text; `-` reads standard input.
    file: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: the plan on standard output, errors on standard error.
    Text,
    /// For programs: one object on standard output.
    Json,
}

pub(super) fn main(args: &CheckArgs) -> ExitCode {
    let name = args.file.display().to_string();
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(error) => return fail(format!("cannot read {name}: {error}")),
    };
    let compiled = compile(&text);
    if args.format == Format::Json {
        let written = super::answer(format!("{}\n", json_of(&compiled)).as_bytes());
        return match compiled {
            Ok(_) => written,
            Err(_) => ExitCode::FAILURE,
        };
    }
    match compiled {
        Ok(job) => {
            for warning in &job.warnings {
                eprintln!("{name}: {warning}");
            }
            super::answer(streamkeeper_sql::explain(&job.plan).as_bytes())
        }
        Err(error) => refuse(&name, &error),
    }
}

/// Prints every error, one a line, as compilers do.
pub(super) fn refuse(name: &str, error: &CompileError) -> ExitCode {
    for error in &error.0 {
        eprintln!("{name}: {error}");
    }
    ExitCode::FAILURE
}

fn json_of(compiled: &Result<CompiledJob, CompileError>) -> serde_json::Value {
    match compiled {
        Ok(job) => json!({
            "compiles": true,
            "planHash": job.plan_hash,
            "plan": streamkeeper_sql::explain(&job.plan),
            "states": job.catalog.iter().map(|state| json!({
                "uid": state.state_uid, "name": state.descriptor.name, "operator": state.label,
            })).collect::<Vec<_>>(),
            "warnings": job.warnings,
        }),
        Err(error) => json!({
            "compiles": false,
            "errors": error.0.iter().map(|error| json!({
                "line": error.line, "column": error.column,
                "message": error.message, "hint": error.hint,
            })).collect::<Vec<_>>(),
        }),
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
