//! Tables without borders that fit the terminal: first columns that can be done without go, then
//! text wraps. Figures stand right and never wrap.

use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, presets::NOTHING,
};

use super::output::Look;
use crate::config::Palette;

/// Spaces between columns.
const GAP: u16 = 2;

/// What a column holds, and what stands above it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: Kind,
    optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Figure,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Poor,
    Bad,
}

/// A table that rows can be added to.
pub(super) struct Table {
    inner: comfy_table::Table,
    columns: Vec<Column>,
    look: Look,
}

impl Column {
    pub(super) const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Text,
            optional: false,
        }
    }

    pub(super) const fn figure(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Figure,
            optional: false,
        }
    }

    /// It goes where the terminal is too narrow, the last of the table's first.
    pub(super) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl Table {
    pub(super) fn new(columns: &[Column], look: Look) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(NOTHING);
        match look.palette {
            Palette::Plain => inner.force_no_tty(),
            Palette::Coloured => inner.enforce_styling(),
        };
        inner.style_text_only();
        let heads = columns.iter().map(|column| Cell::new(column.name));
        inner.set_header(heads.map(|head| head.add_attribute(Attribute::Bold)));
        for (column, definition) in inner.column_iter_mut().zip(columns) {
            column.set_padding((0, GAP));
            if definition.kind == Kind::Figure {
                column.set_cell_alignment(CellAlignment::Right);
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Self {
            inner,
            columns: columns.to_vec(),
            look,
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.inner.add_row(cells);
    }

    /// Its lines, each with its end.
    pub(super) fn text(mut self) -> String {
        match self.look.width {
            Some(width) => self.fit(width),
            None => {
                let arrangement = ContentArrangement::Disabled;
                self.inner.set_content_arrangement(arrangement);
            }
        }
        self.inner.trim_fmt() + "\n"
    }

    fn fit(&mut self, width: u16) {
        let widths = self.inner.column_max_content_widths();
        let mut total: u32 = widths.iter().map(|width| u32::from(width + GAP)).sum();
        let columns = self.inner.column_iter_mut().zip(&self.columns).zip(widths);
        for ((column, definition), content) in columns.rev() {
            if definition.optional && total > u32::from(width) {
                column.set_constraint(ColumnConstraint::Hidden);
                total -= u32::from(content + GAP);
            }
        }
        let arrangement = ContentArrangement::Dynamic;
        self.inner
            .set_content_arrangement(arrangement)
            .set_width(width);
    }
}

/// A cell that says nothing about itself.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    Cell::new_owned(text.into())
}

/// A cell that shows how something is.
pub(super) fn moody(mood: Mood, text: impl Into<String>) -> Cell {
    let cell = Cell::new_owned(text.into());
    match mood {
        Mood::Good => cell.fg(Color::DarkGreen),
        Mood::Poor => cell.fg(Color::DarkYellow),
        Mood::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
    }
}

impl Mood {
    /// Its style outside of tables.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Poor => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}
