//! Statements of a length that is known when they run.

use std::fmt::Write as _;

use sqlx::{
    Any, AnyConnection, Arguments as _, AssertSqlSafe, Encode, Type,
    any::AnyArguments,
    query::{Query, QueryAs, QueryScalar},
};

/// Values of a statement that is prepared once for many runs: texts with more are seldom met again.
const PREPARED: usize = 64;

/// A statement under construction.
pub(super) struct Statement {
    text: String,
    values: AnyArguments,
    count: usize,
    marks: Marks,
}

/// What stands in the text for values. sqlx's builder for any database knows one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// `$1`, which PostgreSQL takes.
    Numbered,
    /// `?`. SQLite takes a number for a name, and looks through all names for each: in a statement of
    /// 250 changes that was three quarters of all that a change cost.
    Bare,
}

/// One row of values under construction.
pub(super) struct Row<'a> {
    statement: &'a mut Statement,
    is_first: bool,
}

impl Statement {
    /// One that is to run on this connection.
    pub(super) fn new(connection: &AnyConnection, text: &'static str) -> Self {
        let is_sqlite = connection.backend_name() == "SQLite";
        Self::with(if is_sqlite { Marks::Bare } else { Marks::Numbered }, text)
    }

    fn with(marks: Marks, text: &'static str) -> Self {
        Self { text: text.to_owned(), values: AnyArguments::default(), count: 0, marks }
    }

    /// Adds text. Only text of this program is taken: values are bound.
    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        self.count += 1;
        match self.marks {
            Marks::Numbered => write!(self.text, "${}", self.count),
            Marks::Bare => self.text.write_char('?'),
        }
        .expect("writing to a string succeeds");
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

    pub(super) fn build_as<T>(self) -> QueryAs<'static, Any, T, AnyArguments>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow>,
    {
        let query = sqlx::query_as_with(AssertSqlSafe(self.text), self.values);
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
    use sqlx::{Connection as _, Execute as _};

    use super::*;

    fn insert(marks: Marks) -> String {
        let mut insert = Statement::with(marks, "INSERT INTO a (b, c) VALUES ");
        insert.rows([(1_i64, "x"), (2, "y")], |row, (b, c)| {
            row.bind(b).bind(c);
        });
        insert.push(" WHERE d IN ").list([3_i64, 4]);
        insert.build().sql().as_str().to_owned()
    }

    #[test]
    fn values_are_numbered_throughout_or_not_at_all() {
        let numbered = "INSERT INTO a (b, c) VALUES ($1, $2), ($3, $4) WHERE d IN ($5, $6)";
        assert_eq!(insert(Marks::Numbered), numbered);
        let bare = "INSERT INTO a (b, c) VALUES (?, ?), (?, ?) WHERE d IN (?, ?)";
        assert_eq!(insert(Marks::Bare), bare);
    }

    #[tokio::test]
    async fn sqlite_is_given_no_names_for_values() {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect("sqlite::memory:").await.unwrap();
        let mut select = Statement::new(&connection, "SELECT 5 IN ");
        assert_eq!(select.marks, Marks::Bare);
        select.list([4_i64, 5]);
        let found: i64 = select.build_scalar().fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, 1);
    }
}
