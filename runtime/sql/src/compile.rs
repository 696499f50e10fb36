//! Compiles a text to a plan.

use streamkeeper_protocol::plan::{Operator, Settings, StreamPlan};

use crate::{
    connectors::Connectors,
    error::{Position, SqlError, SqlWarning},
    insert::{Written, add_sinks, plan_insert},
    physical,
    query::Planner,
    script::{self, SetOption, Statement},
    settings::{self, Applied},
};

/// A job that compiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// What the engine runs.
    pub plan: StreamPlan,
    /// Warnings for the author.
    pub warnings: Vec<SqlWarning>,
    /// Names of the tables that the job reads or writes, sorted.
    pub tables: Vec<String>,
}

/// Compiles the SQL text of a job. All errors are reported, in the order of the text. A byte order
/// mark at its start, as editors write it, is left out.
pub fn compile(text: &str, connectors: &dyn Connectors) -> Result<Compiled, Vec<SqlError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (statements, errors) = script::read(text);
    let mut job = Job {
        planner: Planner::new(connectors),
        settings: Settings::default(),
        ttl: None,
        warnings: Vec::new(),
        written: Vec::new(),
        outside_set: Vec::new(),
        errors,
    };
    for statement in statements {
        job.statement(statement);
    }
    job.finish()
}

struct Job<'a> {
    planner: Planner<'a>,
    settings: Settings,
    /// Where `table.exec.state.ttl` is set.
    ttl: Option<Position>,
    warnings: Vec<SqlWarning>,
    written: Vec<Written>,
    /// `INSERT INTO`s outside a STATEMENT SET.
    outside_set: Vec<Position>,
    errors: Vec<SqlError>,
}

impl Job<'_> {
    fn statement(&mut self, statement: Statement) {
        match statement {
            Statement::Set(option) => self.set(&option),
            Statement::Broken(name) => self.planner.catalog.mark_broken(&name),
            Statement::CreateTable(table) => {
                if let Err(error) = self.planner.catalog.add_table(&table) {
                    self.planner.catalog.mark_broken(&table.name.text);
                    self.errors.push(error);
                }
            }
            Statement::CreateView(view) => {
                let name = view.name.clone();
                let added = self.planner.catalog.add_view(view);
                // A view is planned where it is declared, so that its errors are reported once and
                // also when nothing reads it.
                if let Err(error) = added.and_then(|()| self.planner.declare_view(&name)) {
                    self.planner.catalog.replace_broken(&name.text);
                    self.errors.push(error);
                }
            }
            Statement::Insert(insert) => {
                if !insert.in_set {
                    self.outside_set.push(insert.places.start);
                }
                if let Err(error) = plan_insert(&mut self.planner, &insert, &mut self.written) {
                    self.errors.push(error);
                }
            }
        }
    }

    fn set(&mut self, option: &SetOption) {
        match settings::apply(&mut self.settings, &option.key.text, &option.value.text) {
            Ok(Applied::Known) => {
                if option.key.text == "table.exec.state.ttl" {
                    self.ttl = Some(option.key.position);
                }
            }
            Ok(Applied::Ignored(text)) => self
                .warnings
                .push(SqlWarning::at(option.key.position, text)),
            Err(text) => self.errors.push(SqlError::at(option.value.position, text)),
        }
    }

    fn finish(mut self) -> Result<Compiled, Vec<SqlError>> {
        self.errors.append(&mut self.planner.problems);
        if self.written.is_empty() && self.errors.is_empty() {
            self.errors.push(
                SqlError::at(
                    Position::START,
                    "the text has no INSERT INTO, so there is nothing to run",
                )
                .hint("write INSERT INTO sink SELECT … FROM source"),
            );
        }
        if let [_, second, ..] = self.outside_set.as_slice() {
            let text = "several INSERT INTO outside a STATEMENT SET run as one job here; Flink would start one job for each";
            self.warnings.push(SqlWarning::at(*second, text));
        }
        if !self.errors.is_empty() {
            return Err(sorted(self.errors));
        }
        add_sinks(&mut self.planner, self.written);
        let plan = physical::build(&mut self.planner, self.settings).map_err(sorted)?;
        let keeps_groups = plan
            .nodes
            .iter()
            .any(|node| matches!(node.operator, Operator::GroupAggregate { .. }));
        if let (Some(position), Some(_), true) =
            (self.ttl, plan.settings.state_ttl_ms, keeps_groups)
        {
            return Err(vec![
                SqlError::at(
                    position,
                    "table.exec.state.ttl is not supported with GROUP BY without a window",
                )
                .hint("remove the setting, or group by a window"),
            ]);
        }
        self.warnings
            .sort_by_key(|warning| (warning.line, warning.column));
        let mut tables: Vec<String> = plan
            .nodes
            .iter()
            .filter_map(|node| match &node.operator {
                Operator::Source(table) | Operator::Sink(table) => Some(table.name.clone()),
                _ => None,
            })
            .collect();
        tables.sort();
        tables.dedup();
        Ok(Compiled {
            plan,
            warnings: self.warnings,
            tables,
        })
    }
}

/// Sorts errors in the order of the text and drops repeated ones: an error without text is about a
/// name whose declaration has already been reported.
fn sorted(errors: Vec<SqlError>) -> Vec<SqlError> {
    let mut told: Vec<SqlError> = errors
        .iter()
        .filter(|error| !error.message.is_empty())
        .cloned()
        .collect();
    if told.is_empty() {
        told = errors;
    }
    told.sort_by_key(|error| (error.line, error.column));
    told.dedup();
    told
}
