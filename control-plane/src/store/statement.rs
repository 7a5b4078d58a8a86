//! Statements of a length that is known when they run.

use sqlx::{
    Any, Arguments as _, AssertSqlSafe, Encode, Type,
    any::AnyArguments,
    query::{Query, QueryScalar},
};

/// Values of a statement that is prepared once for many runs: texts with more are seldom met again.
const PREPARED: usize = 64;

/// A statement under construction. Its placeholders are numbered, as both databases take them; sqlx's
/// builder for any database writes `?`, which PostgreSQL does not take.
#[derive(Default)]
pub(super) struct Statement {
    text: String,
    values: AnyArguments,
    count: usize,
}

/// One row of values under construction.
pub(super) struct Row<'a> {
    statement: &'a mut Statement,
    is_first: bool,
}

impl Statement {
    pub(super) fn new(text: &'static str) -> Self {
        let mut statement = Self::default();
        statement.push(text);
        statement
    }

    /// Adds text. Only text of this program is taken: values are bound.
    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        self.count += 1;
        self.text.push_str(&format!("${}", self.count));
        self.values.add(value).expect("numbers, texts and bytes can be bound");
        self
    }

    /// Adds values in parentheses.
    pub(super) fn list<'t, T: Encode<'t, Any> + Type<Any>>(
        &mut self,
        values: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.rows([values], |row, values| {
            for value in values {
                row.bind(value);
            }
        })
    }

    /// Adds rows of values, each in parentheses.
    pub(super) fn rows<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Row<'_>, T),
    ) -> &mut Self {
        for (n, item) in items.into_iter().enumerate() {
            self.push(if n == 0 { "(" } else { ", (" });
            fill(&mut Row { statement: self, is_first: true }, item);
            self.push(")");
        }
        self
    }

    pub(super) fn build(self) -> Query<'static, Any, AnyArguments> {
        // The text is made of this program's texts and of numbers.
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.values);
        query.persistent(self.count <= PREPARED)
    }

    pub(super) fn build_scalar<T>(self) -> QueryScalar<'static, Any, T, AnyArguments>
    where
        (T,): for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow>,
    {
        let query = sqlx::query_scalar_with(AssertSqlSafe(self.text), self.values);
        query.persistent(self.count <= PREPARED)
    }
}

impl Row<'_> {
    /// Adds a value.
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if !std::mem::take(&mut self.is_first) {
            self.statement.push(", ");
        }
        self.statement.bind(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn values_are_numbered_throughout() {
        let mut insert = Statement::new("INSERT INTO a (b, c) VALUES ");
        insert.rows([(1_i64, "x"), (2, "y")], |row, (b, c)| {
            row.bind(b).bind(c);
        });
        insert.push(" WHERE d IN ").list([3_i64, 4]);
        let sql = "INSERT INTO a (b, c) VALUES ($1, $2), ($3, $4) WHERE d IN ($5, $6)";
        assert_eq!(insert.build().sql().as_str(), sql);
    }
}
