//! From SQL text to what a job needs of it.

use std::{fmt, sync::Arc};

use streamkeeper_connectors::ConnectorError;
use streamkeeper_protocol::{
    compatibility::{CatalogEntry, catalog},
    plan::{StreamPlan, TableRef},
};
use streamkeeper_sql::{Connectors, OptionProblem, SqlError, TableTraits, TableUse};

use streamkeeper_tables::{access::Access, variables};

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

impl CompiledJob {
    /// What a job needs of a plan.
    pub fn of(plan: StreamPlan, warnings: Vec<String>) -> Self {
        Self {
            plan_hash: plan.hash(),
            catalog: Arc::new(catalog(&plan)),
            plan: Arc::new(plan),
            warnings,
        }
    }
}

/// What a job is made of.
#[derive(Debug, Clone)]
pub enum JobText {
    /// A SQL text, compiled when the coordinator begins.
    Sql {
        /// Name of the file, for messages.
        name: String,
        /// The text.
        text: String,
    },
    /// A job that is compiled already.
    Compiled(Arc<CompiledJob>),
}

/// Why a text does not compile: at least one error, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CompileError(pub Vec<SqlError>);

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl CompileError {
    /// The first error with its file, and how many more there are: one line.
    pub fn describe(&self, name: &str) -> String {
        match self.0.as_slice() {
            [] => format!("{name}: does not compile"),
            [only] => format!("{name}: {only}"),
            [first, rest @ ..] => format!(
                "{name}: {first} (and {} more; `streamjob-runtime check` lists all)",
                rest.len()
            ),
        }
    }
}

/// The connectors of this binary, as the front end asks about them.
struct Installed;

impl Connectors for Installed {
    fn check(&self, table: &TableRef, table_use: TableUse) -> Result<TableTraits, OptionProblem> {
        let asked = match table_use {
            TableUse::Source => streamkeeper_connectors::TableUse::Source,
            TableUse::Sink => streamkeeper_connectors::TableUse::Sink,
        };
        may_reach(table, Access::of_process())?;
        match streamkeeper_connectors::check(table, asked) {
            Ok(traits) => Ok(TableTraits {
                accepts: traits.accepts,
                bounded: traits.bounded,
            }),
            Err(ConnectorError::Option { option, detail, .. }) => Err(OptionProblem {
                option,
                message: detail,
            }),
            Err(other) => Err(OptionProblem {
                option: None,
                message: other.to_string(),
            }),
        }
    }
}

/// Whether the options of a table name only variables and files that SQL may reach. A variable may
/// stand for a path.
fn may_reach(table: &TableRef, access: &Access) -> Result<(), OptionProblem> {
    variables::check(table, access).map_err(|error| OptionProblem {
        option: Some(error.option().to_owned()),
        message: error.to_string(),
    })?;
    // An option whose variables are not known here is looked at when the table is opened.
    let known = variables::expand(table, |name| std::env::var(name).ok());
    let options = known.map_or_else(|_| table.options.clone(), |table| table.options);
    let path = options.get("path").map(String::as_str).unwrap_or_default();
    match access.objection_to_path(path) {
        Some(message) => Err(OptionProblem {
            option: Some("path".to_owned()),
            message,
        }),
        None => Ok(()),
    }
}

/// Compiles a text.
pub fn compile(text: &str) -> Result<CompiledJob, CompileError> {
    let compiled = streamkeeper_sql::compile(text, &Installed).map_err(CompileError)?;
    let warnings = compiled.warnings.iter().map(ToString::to_string).collect();
    Ok(CompiledJob::of(compiled.plan, warnings))
}

/// Compiles what the coordinator was given; an error says where in which file.
pub(crate) async fn compile_for(text: &JobText) -> Result<Arc<CompiledJob>, String> {
    let (name, text) = match text {
        JobText::Compiled(job) => return Ok(job.clone()),
        JobText::Sql { name, text } => (name.clone(), text.clone()),
    };
    let work = move || match compile(&text) {
        Ok(job) => {
            for warning in &job.warnings {
                tracing::warn!("{name}: {warning}");
            }
            Ok(Arc::new(job))
        }
        Err(error) => Err(error.describe(&name)),
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(format!("the SQL front end failed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "CREATE TABLE a (x INT) WITH ('connector' = 'datagen');
        CREATE TABLE b (x INT) WITH ('connector' = 'blackhole');
        INSERT INTO b SELECT x FROM a;";

    #[test]
    fn a_text_becomes_a_plan_whose_states_are_known() {
        let job = compile(GOOD).unwrap();
        assert_eq!(job.plan_hash, job.plan.hash());
        assert!(!job.catalog.is_empty(), "positions of datagen are state");
    }

    #[test]
    fn an_option_that_a_connector_refuses_is_told_with_its_place() {
        let error = compile(&GOOD.replace("'datagen'", "'datagen', 'speed' = '1'")).unwrap_err();
        let told = error.describe("job.sql");
        assert!(told.starts_with("job.sql: line 1:"), "{told}");
        assert!(told.contains("speed"), "{told}");
    }

    #[test]
    fn a_secret_of_the_process_is_refused_with_its_place() {
        let option = "'datagen',\n'rows-per-second' = '${AWS_SECRET_ACCESS_KEY}'";
        let error = compile(&GOOD.replace("'datagen'", option)).unwrap_err();
        let told = error.describe("job.sql");
        assert!(told.starts_with("job.sql: line "), "{told}");
        assert!(told.contains("AWS_SECRET_ACCESS_KEY"), "{told}");
    }

    #[test]
    fn in_a_pod_a_file_outside_its_scratch_folder_is_refused() {
        let table = |path: &str| TableRef {
            name: "a".into(),
            connector: "filesystem".into(),
            options: [("path".to_owned(), path.to_owned())].into(),
            schema: streamkeeper_protocol::types::Schema::default(),
            primary_key: Vec::new(),
        };
        let pod = Access::of_pod(Some(""), "/tmp".into());
        let refused = may_reach(&table("file:///proc/self/environ"), &pod).unwrap_err();
        assert_eq!(refused.option.as_deref(), Some("path"));
        assert!(refused.message.contains("/tmp"), "{}", refused.message);
        assert!(may_reach(&table("file:///tmp/in"), &pod).is_ok());
        assert!(may_reach(&table("file:///proc/self/environ"), &Access::local()).is_ok());
    }

    #[test]
    fn several_errors_are_counted_in_one_line_and_listed_in_many() {
        let error =
            compile(&GOOD.replace("SELECT x", "SELECT y").replace("INT", "INTT")).unwrap_err();
        assert!(error.0.len() > 1, "{error}");
        assert_eq!(error.to_string().lines().count(), error.0.len());
        assert_eq!(error.describe("job.sql").lines().count(), 1);
    }
}
