//! The select list.

use sqlparser::ast::{
    self, SelectItem, SelectItemQualifiedWildcardKind, Spanned, WildcardAdditionalOptions,
};
use streamkeeper_protocol::{expr::Expr, types::DataType};

use super::from::simple_name;
use crate::{
    error::{Position, Result, SqlError},
    expression::Analyzer,
    scope::Scope,
};

/// A column of the select list, over the scope.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) expr: Expr,
    pub(super) position: Position,
}

/// The select list with `*` written out. Nameless columns are called `EXPR$n`, as in Flink.
pub(super) fn items(list: &[SelectItem], analyzer: &mut Analyzer<'_>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for item in list {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = match expr {
                    ast::Expr::Identifier(ident) => Some(ident.value.clone()),
                    ast::Expr::CompoundIdentifier(parts) => {
                        parts.last().map(|part| part.value.clone())
                    }
                    _ => None,
                };
                let name = name.unwrap_or_else(|| format!("EXPR${}", items.len()));
                items.push(item_of(analyzer, expr, name)?);
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                items.push(item_of(analyzer, expr, alias.value.clone())?);
            }
            SelectItem::Wildcard(options) => {
                let at = plain_wildcard(options, analyzer)?;
                items.extend(all_columns(analyzer.scope, at));
                remember_all(analyzer, at);
            }
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) => {
                let star = plain_wildcard(options, analyzer)?;
                let at = Position::from(name.span().start).or(star);
                analyzer
                    .scope
                    .check_qualifier(&simple_name(name, at)?, at)?;
                items.extend(all_columns(analyzer.scope, at));
                remember_all(analyzer, at);
            }
            _ => {
                return Err(SqlError::at(
                    analyzer.places.start,
                    "this form of select list is not supported",
                ));
            }
        }
    }
    Ok(items)
}

fn item_of(analyzer: &mut Analyzer<'_>, expr: &ast::Expr, name: String) -> Result<Item> {
    let typed = analyzer.analyze(expr)?;
    let position = analyzer.position(expr);
    if matches!(
        typed.ty.data,
        DataType::IntervalDayTime | DataType::IntervalYearMonth
    ) {
        let position = analyzer.places.before("INTERVAL", position);
        return Err(SqlError::at(position, "an interval cannot be a column")
            .hint("compute with it, or CAST what you need"));
    }
    if typed.ty.data == DataType::Null {
        return Err(SqlError::at(position, "an untyped NULL cannot be a column")
            .hint("write CAST(NULL AS type)"));
    }
    Ok(Item {
        name,
        expr: typed,
        position,
    })
}

fn all_columns(scope: &Scope, position: Position) -> impl Iterator<Item = Item> {
    scope
        .columns
        .iter()
        .enumerate()
        .map(move |(index, column)| Item {
            name: column.name.clone(),
            expr: Expr::column(index, column.ty.clone()),
            position,
        })
}

fn remember_all(analyzer: &mut Analyzer<'_>, position: Position) {
    for index in 0..analyzer.scope.columns.len() {
        analyzer.named.entry(index).or_insert(position);
    }
}

fn plain_wildcard(
    options: &WildcardAdditionalOptions,
    analyzer: &Analyzer<'_>,
) -> Result<Position> {
    let WildcardAdditionalOptions {
        wildcard_token,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let at = Position::from(wildcard_token.0.span.start).or(analyzer.places.start);
    let plain = opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none();
    if plain {
        Ok(at)
    } else {
        Err(SqlError::at(at, "* takes no options").hint("list the columns"))
    }
}
