//! From SQL text to what a job needs of it.

use std::sync::Arc;

use streamkeeper_protocol::{compatibility::CatalogEntry, plan::StreamPlan};

use super::CoordinatorConfig;

/// A compiled job.
#[derive(Debug, Clone)]
pub struct CompiledJob {
    /// The plan.
    pub plan: Arc<StreamPlan>,
    /// [`StreamPlan::hash`].
    pub plan_hash: String,
    /// States it will keep.
    pub catalog: Arc<Vec<CatalogEntry>>,
    /// What compiles but may not do what its author expects, with positions.
    pub warnings: Vec<String>,
}

/// Why a text does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(String);

/// Compiles a text.
pub fn compile(_text: &str) -> Result<CompiledJob, CompileError> {
    Err(CompileError("the SQL front end is not there".to_owned()))
}

/// Compiles the coordinator's text.
pub(super) async fn compile_for(config: &CoordinatorConfig) -> Result<CompiledJob, String> {
    compile(&config.sql).map_err(|error| format!("{}: {error}", config.sql_name))
}
