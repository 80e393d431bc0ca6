//! Lists: an aligned table on a terminal, the same columns separated by tabs in a pipe, objects with
//! `--json`.

use std::io::{BufWriter, IsTerminal as _, Write};

use drave::ids::TopicName;

use super::exit::stdout_failed;
use super::{Result, escape, json};

/// One value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(Vec<u8>),
    Number(u64),
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

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number)
    }
}

/// Rows with named columns. The names are those of the members of the objects, too.
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
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Prints all of it on stdout.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let stdout = std::io::stdout().lock();
        let terminal = stdout.is_terminal();
        let mut out = BufWriter::with_capacity(64 << 10, stdout);
        let written = match (json, terminal) {
            (true, _) => self.write_objects(&mut out, terminal),
            (false, true) => self.write_aligned(&mut out),
            (false, false) => self.write_tabbed(&mut out),
        };
        written.and_then(|()| out.flush()).map_err(stdout_failed)
    }

    fn write_objects(&self, out: &mut impl Write, terminal: bool) -> std::io::Result<()> {
        let mut object = Vec::new();
        for row in &self.rows {
            object.clear();
            for (nth, (name, cell)) in self.columns.iter().zip(row).enumerate() {
                object.push(if nth == 0 { b'{' } else { b',' });
                match cell {
                    Cell::Text(text) => json::push_member(&mut object, name, Some(text)),
                    Cell::Number(number) => {
                        object.extend_from_slice(format!("\"{name}\":").as_bytes());
                        json::push_number(&mut object, *number);
                    }
                }
            }
            object.push(b'}');
            if terminal {
                escape::harden_json(&mut object, 0);
            }
            object.push(b'\n');
            out.write_all(&object)?;
        }
        Ok(())
    }

    fn write_tabbed(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{}", self.columns.join("\t"))?;
        for row in &self.rows {
            for (nth, cell) in row.iter().enumerate() {
                if nth > 0 {
                    out.write_all(b"\t")?;
                }
                match cell {
                    Cell::Text(text) => out.write_all(text)?,
                    Cell::Number(number) => write!(out, "{number}")?,
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn write_aligned(&self, out: &mut impl Write) -> std::io::Result<()> {
        let shown: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let width = |column: usize| {
            let cells = shown.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let is_number = |column: usize| self.rows.first().is_some_and(|row| matches!(row[column], Cell::Number(_)));
        let heading = self.columns.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
        for row in std::iter::once(&heading).chain(&shown) {
            let mut line = String::new();
            for (column, text) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - text.chars().count());
                line.push_str(if column == 0 { "" } else { "  " });
                if is_number(column) { line.extend([pad.as_str(), text]) } else { line.extend([text, pad.as_str()]) }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Cell {
    /// For a terminal.
    fn shown(&self) -> String {
        match self {
            Cell::Text(text) => escape::escape(text).into_owned(),
            Cell::Number(number) => number.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["topic", "log_end"]);
        table.row(vec!["orders".into(), 7.into()]);
        table.row(vec![Cell::Text(b"\x1b\xff".to_vec()), 1234.into()]);
        table
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out).expect("memory");
        out
    }

    #[test]
    fn a_pipe_gets_exact_bytes_between_tabs() {
        assert_eq!(written(|out| table().write_tabbed(out)), b"topic\tlog_end\norders\t7\n\x1b\xff\t1234\n");
    }

    #[test]
    fn a_terminal_gets_columns_that_cannot_drive_it() {
        let expected = "TOPIC       LOG END\norders            7\n\\u{1b}\\xff     1234\n";
        assert_eq!(String::from_utf8_lossy(&written(|out| table().write_aligned(out))), expected);
    }

    #[test]
    fn objects_have_the_columns_as_members() {
        let expected = "{\"topic\":\"orders\",\"log_end\":7}\n{\"topic_b64\":\"G/8=\",\"log_end\":1234}\n";
        assert_eq!(String::from_utf8_lossy(&written(|out| table().write_objects(out, false))), expected);
    }
}
