//! Lists: an aligned table on a terminal, the same columns separated by tabs in a pipe, objects with
//! `--json`.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use drave::ids::{Offset, TopicName};

use super::exit::stdout_failed;
use super::{Result, escape, json};

/// On a terminal, so many rows are looked at to tell how wide the columns are.
const BLOCK_ROWS: usize = 500;

/// One value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(Vec<u8>),
    Number(u64),
    /// A number of something a second.
    Rate(f64),
    Flag(bool),
    Absent,
}

impl From<&TopicName> for Cell {
    fn from(topic: &TopicName) -> Cell {
        Cell::Text(topic.as_bytes().to_vec())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text.into_bytes())
    }
}

impl From<Vec<u8>> for Cell {
    fn from(text: Vec<u8>) -> Cell {
        Cell::Text(text)
    }
}

impl From<&Path> for Cell {
    fn from(path: &Path) -> Cell {
        Cell::Text(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number)
    }
}

impl From<Offset> for Cell {
    fn from(offset: Offset) -> Cell {
        Cell::Number(offset.0)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Cell {
        Cell::Flag(flag)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Absent, Into::into)
    }
}

impl Cell {
    /// A moment, as the output of records writes it.
    pub(crate) fn time(ms: u64) -> Cell {
        let mut text = Vec::new();
        json::push_rfc3339(&mut text, ms);
        Cell::Text(text)
    }

    /// For a terminal.
    fn shown(&self) -> String {
        match self {
            Cell::Text(text) => escape::escape(text).into_owned(),
            Cell::Number(number) => number.to_string(),
            Cell::Rate(rate) => format!("{rate:.1}"),
            Cell::Flag(flag) => yes_or_no(*flag).to_owned(),
            Cell::Absent => "-".to_owned(),
        }
    }

    fn write_exact(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Cell::Text(text) => out.write_all(text),
            Cell::Number(number) => write!(out, "{number}"),
            Cell::Rate(rate) => write!(out, "{rate:.1}"),
            Cell::Flag(flag) => out.write_all(yes_or_no(*flag).as_bytes()),
            Cell::Absent => Ok(()),
        }
    }

    fn push_member(&self, object: &mut Vec<u8>, name: &str) {
        match self {
            Cell::Text(text) => json::push_member(object, name, Some(text)),
            Cell::Absent => json::push_member(object, name, None),
            Cell::Number(number) => object.extend_from_slice(format!("\"{name}\":{number}").as_bytes()),
            Cell::Rate(rate) => object.extend_from_slice(format!("\"{name}\":{rate:.1}").as_bytes()),
            Cell::Flag(flag) => object.extend_from_slice(format!("\"{name}\":{flag}").as_bytes()),
        }
    }
}

fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// Rows with named columns, few enough to hold. The names are those of the members of the objects,
/// too.
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &'static [&'static str]) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// Appends a row: a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Prints all of it on stdout.
    pub(crate) fn print(self, json: bool) -> Result<()> {
        let mut rows = Rows::begin(self.columns, json);
        rows.block_rows = usize::MAX;
        self.rows.into_iter().try_for_each(|row| rows.row(row))?;
        rows.end()
    }
}

/// One thing's facts: a row for each with its name and value; one object with `--json`.
pub(crate) struct Facts(Vec<(&'static str, Cell)>);

impl Facts {
    pub(crate) fn new() -> Facts {
        Facts(Vec::new())
    }

    /// Appends a fact.
    pub(crate) fn put(&mut self, name: &'static str, value: impl Into<Cell>) {
        self.0.push((name, value.into()));
    }

    /// Prints all of them on stdout.
    pub(crate) fn print(self, json: bool) -> Result<()> {
        if json {
            let (columns, cells): (Vec<&'static str>, Vec<Cell>) = self.0.into_iter().unzip();
            let mut rows = Rows::begin(columns, true);
            rows.row(cells)?;
            return rows.end();
        }
        let mut table = Table::new(&["name", "value"]);
        for (name, value) in self.0 {
            table.row(vec![name.into(), value]);
        }
        table.print(false)
    }
}

/// Prints rows one by one, however many there are.
pub(crate) struct Rows<W: Write = Stdout> {
    columns: Vec<&'static str>,
    out: BufWriter<W>,
    form: Form,
    /// Rows that wait for the columns' widths.
    block: Vec<Vec<Cell>>,
    block_rows: usize,
    /// Known once something was printed.
    widths: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Objects { terminal: bool },
    Tabbed,
    Aligned,
}

impl Rows {
    /// Begins a list on stdout.
    pub(crate) fn begin(columns: impl Into<Vec<&'static str>>, json: bool) -> Rows {
        let stdout = io::stdout();
        let form = match (json, stdout.is_terminal()) {
            (true, terminal) => Form::Objects { terminal },
            (false, true) => Form::Aligned,
            (false, false) => Form::Tabbed,
        };
        Rows::on(stdout, columns.into(), form)
    }
}

impl<W: Write> Rows<W> {
    fn on(out: W, columns: Vec<&'static str>, form: Form) -> Rows<W> {
        let out = BufWriter::with_capacity(64 << 10, out);
        Rows { columns, out, form, block: Vec::new(), block_rows: BLOCK_ROWS, widths: Vec::new() }
    }

    /// Prints a row: a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) -> Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        let written = match self.form {
            Form::Objects { terminal } => self.write_object(&cells, terminal),
            Form::Tabbed => self.write_tabbed(&cells),
            Form::Aligned => {
                self.block.push(cells);
                if self.block.len() >= self.block_rows { self.write_block() } else { Ok(()) }
            }
        };
        written.map_err(stdout_failed)
    }

    /// Prints what is left, the heading also above no rows.
    pub(crate) fn end(mut self) -> Result<()> {
        self.flush().map_err(stdout_failed)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.form {
            Form::Objects { .. } => {}
            Form::Tabbed => self.write_heading()?,
            Form::Aligned => self.write_block()?,
        }
        self.out.flush()
    }

    fn write_object(&mut self, cells: &[Cell], terminal: bool) -> io::Result<()> {
        let mut object = Vec::new();
        for (nth, (name, cell)) in self.columns.iter().zip(cells).enumerate() {
            object.push(if nth == 0 { b'{' } else { b',' });
            cell.push_member(&mut object, name);
        }
        object.push(b'}');
        if terminal {
            escape::harden_json(&mut object, 0);
        }
        object.push(b'\n');
        self.out.write_all(&object)
    }

    /// The heading of columns with tabs between, once.
    fn write_heading(&mut self) -> io::Result<()> {
        if !self.widths.is_empty() {
            return Ok(());
        }
        self.widths = vec![0];
        writeln!(self.out, "{}", self.columns.join("\t"))
    }

    fn write_tabbed(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.write_heading()?;
        for (nth, cell) in cells.iter().enumerate() {
            if nth > 0 {
                self.out.write_all(b"\t")?;
            }
            cell.write_exact(&mut self.out)?;
        }
        self.out.write_all(b"\n")
    }

    fn write_block(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        let mut shown: Vec<Vec<String>> = Vec::with_capacity(block.len() + 1);
        if self.widths.is_empty() {
            self.widths = vec![0; self.columns.len()];
            shown.push(self.columns.iter().map(|name| name.to_uppercase().replace('_', " ")).collect());
        }
        shown.extend(block.iter().map(|row| row.iter().map(Cell::shown).collect()));
        for row in &shown {
            for (width, text) in self.widths.iter_mut().zip(row) {
                *width = text.chars().count().max(*width);
            }
        }
        let is_number = |column: usize| {
            let mut given = block.iter().map(|row| &row[column]).filter(|cell| !matches!(cell, Cell::Absent)).peekable();
            given.peek().is_some() && given.all(|cell| matches!(cell, Cell::Number(_) | Cell::Rate(_)))
        };
        let numbers: Vec<bool> = (0..self.columns.len()).map(is_number).collect();
        for row in &shown {
            let mut line = String::new();
            for (column, text) in row.iter().enumerate() {
                let pad = " ".repeat(self.widths[column].saturating_sub(text.chars().count()));
                line.push_str(if column == 0 { "" } else { "  " });
                if numbers[column] { line.extend([pad.as_str(), text]) } else { line.extend([text, pad.as_str()]) }
            }
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form) -> String {
        let mut rows = Rows::on(Vec::new(), vec!["topic", "log_end", "gone"], form);
        rows.row(vec!["orders".into(), 7.into(), true.into()]).expect("memory");
        rows.row(vec![Cell::Text(b"\x1b\xff".to_vec()), 1234.into(), Cell::Absent]).expect("memory");
        rows.flush().expect("memory");
        String::from_utf8_lossy(&rows.out.into_inner().expect("memory")).into_owned()
    }

    #[test]
    fn a_pipe_gets_exact_bytes_between_tabs() {
        let lossy = "topic\tlog_end\tgone\norders\t7\tyes\n\x1b\u{fffd}\t1234\t\n";
        assert_eq!(written(Form::Tabbed), lossy);
    }

    #[test]
    fn a_terminal_gets_columns_that_cannot_drive_it() {
        let expected = "TOPIC       LOG END  GONE\norders            7  yes\n\\u{1b}\\xff     1234  -\n";
        assert_eq!(written(Form::Aligned), expected);
    }

    #[test]
    fn objects_have_the_columns_as_members() {
        let expected = "{\"topic\":\"orders\",\"log_end\":7,\"gone\":true}\n\
                        {\"topic_b64\":\"G/8=\",\"log_end\":1234,\"gone\":null}\n";
        assert_eq!(written(Form::Objects { terminal: false }), expected);
    }

    #[test]
    fn a_long_list_is_printed_in_blocks_under_one_heading() {
        let mut rows = Rows::on(Vec::new(), vec!["name"], Form::Aligned);
        for number in 0..2 * BLOCK_ROWS as u64 {
            rows.row(vec![number.into()]).expect("memory");
        }
        assert!(rows.block.is_empty());
        rows.flush().expect("memory");
        let text = String::from_utf8(rows.out.into_inner().expect("memory")).expect("UTF-8");
        assert_eq!(text.lines().count(), 2 * BLOCK_ROWS + 1);
        assert_eq!(text.matches("NAME").count(), 1);
    }

    #[test]
    fn an_empty_list_has_its_heading() {
        for (form, expected) in [(Form::Tabbed, "name\n"), (Form::Aligned, "NAME\n")] {
            let mut rows = Rows::on(Vec::new(), vec!["name"], form);
            rows.flush().expect("memory");
            assert_eq!(rows.out.into_inner().expect("memory"), expected.as_bytes());
        }
    }
}
