//! Converts queries to relations.
//!
//! * `planner`: tables, views and relations while queries are planned; `rows`: the rows of a query.
//! * `with`, `set`, `select`: queries from the outside in: `WITH`, `UNION ALL`, `SELECT`.
//! * `from`, `window`: what stands in `FROM`; `windowed`: expressions over windowed rows.
//! * `projection`, `grouping`: the select list and `GROUP BY`.

mod from;
mod grouping;
mod planner;
mod projection;
mod rows;
mod select;
mod set;
mod window;
mod windowed;
mod with;

pub(crate) use planner::Planner;
pub(crate) use rows::Context;
pub(crate) use window::not_aggregated;
