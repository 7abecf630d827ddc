//! The state of the screen, and what keys do to it.

use std::{
    cmp::Ordering,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rates::Rates;
use crate::{
    commands::ps::listed::{Listed, hops},
    control::api::Overview,
};

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    /// Whether colours are wanted.
    pub is_coloured: bool,
    /// The column that rows are sorted by.
    pub sort: Column,
    /// Whether the order is reversed.
    pub is_reversed: bool,
    /// The text that rows must contain.
    pub filter: String,
    /// Whether keys are typed into the filter.
    pub is_typing: bool,
    /// The number of the chosen connection.
    pub chosen: Option<u64>,
    /// The result of the last key.
    pub message: String,
    /// How long an answer of the proxy has been waited for.
    pub silent_for: Duration,
    /// The proxy at a glance.
    pub overview: Overview,
    rows: Vec<Listed>,
    connection_rates: Rates<u64>,
    chain_rates: Rates<String>,
    hop_rates: Rates<String>,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Age,
    Client,
    Target,
    Chain,
    Sent,
    Received,
    Rate,
}

/// A request of a key that the screen itself can't fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Leave,
    Kill(u64),
}

impl Screen {
    /// Creates an empty screen.
    pub(super) fn new(is_coloured: bool) -> Self {
        Self {
            is_coloured,
            sort: Column::Rate,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            chosen: None,
            message: String::new(),
            silent_for: Duration::ZERO,
            overview: Overview::default(),
            rows: Vec::new(),
            connection_rates: Rates::default(),
            chain_rates: Rates::default(),
            hop_rates: Rates::default(),
        }
    }

    /// Takes the answers of the proxy at `now`.
    pub(super) fn update(&mut self, rows: Vec<Listed>, overview: Overview, now: Instant) {
        // Rates are counted here from two answers in a row. The proxy itself counts bytes only.
        let bytes = |row: &Listed| row.connection.bytes_sent + row.connection.bytes_received;
        self.connection_rates.update(rows.iter().map(|row| (row.connection.id, bytes(row))), now);
        let chains = overview.chains.iter().map(|chain| {
            (chain.name.clone(), chain.counts.bytes_sent + chain.counts.bytes_received)
        });
        self.chain_rates.update(chains, now);
        let hops = overview
            .hops
            .iter()
            .map(|hop| (hop.name.clone(), hop.counts.bytes_sent + hop.counts.bytes_received));
        self.hop_rates.update(hops, now);
        (self.rows, self.overview) = (rows, overview);
    }

    /// Notes what the last key did.
    pub(super) fn say(&mut self, message: String) {
        self.message = message;
    }

    /// Returns the rows to show, in order.
    pub(super) fn shown(&self) -> Vec<&Listed> {
        let filter = self.filter.to_lowercase();
        let mut shown: Vec<&Listed> =
            self.rows.iter().filter(|row| filter.is_empty() || contains(row, &filter)).collect();
        shown.sort_by(|one, other| {
            // Equal rows are ordered by their number, so that they don't change places at each refresh.
            let order = self.compare(one, other);
            let order = order.then(one.connection.id.cmp(&other.connection.id));
            if self.is_reversed { order.reverse() } else { order }
        });
        shown
    }

    /// Returns how many bytes a second pass through a connection.
    pub(super) fn rate(&self, row: &Listed) -> f64 {
        self.connection_rates.of(&row.connection.id)
    }

    /// Returns how many bytes a second pass through a chain.
    pub(super) fn chain_rate(&self, name: &String) -> f64 {
        self.chain_rates.of(name)
    }

    /// Returns how many bytes a second pass through a hop.
    pub(super) fn hop_rate(&self, name: &String) -> f64 {
        self.hop_rates.of(name)
    }

    /// Returns the position of the chosen connection among those that are shown, or the first one.
    pub(super) fn position(&self, shown: &[&Listed]) -> Option<usize> {
        // The choice is a connection and not a line, since lines move. If it has ended or is filtered out,
        // the first line is chosen instead.
        let chosen = |id| shown.iter().position(|row| row.connection.id == id);
        self.chosen.and_then(chosen).or((!shown.is_empty()).then_some(0))
    }

    /// Does what `key` asks for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        // In raw mode Ctrl+C sends no signal, so it is handled here. Other keys with Ctrl are not text for the
        // filter.
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wish::Leave } else { Wish::Nothing };
        }
        self.message.clear();
        // These keys work while a filter is typed too. The letters are commands only if no filter is typed,
        // so the arms with `is_typing` come before them.
        match key.code {
            KeyCode::Up => self.choose(-1),
            KeyCode::Down => self.choose(1),
            KeyCode::PageUp => self.choose(-10),
            KeyCode::PageDown => self.choose(10),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.is_typing = false;
            }
            KeyCode::Backspace if self.is_typing => {
                self.filter.pop();
            }
            KeyCode::Char(_) if self.is_typing && self.filter.len() >= FILTER_MAX => {}
            KeyCode::Char(character) if self.is_typing => self.filter.push(character),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('q') => return Wish::Leave,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('k') => {
                let shown = self.shown();
                let chosen = self.position(&shown).and_then(|position| shown.get(position));
                return chosen.map_or(Wish::Nothing, |row| Wish::Kill(row.connection.id));
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn choose(&mut self, by: isize) {
        let shown = self.shown();
        let Some(position) = self.position(&shown) else { return };
        let position = position.saturating_add_signed(by).min(shown.len() - 1);
        self.chosen = Some(shown[position].connection.id);
    }

    /// Compares two rows; the largest numbers come first, and texts in their own order.
    fn compare(&self, one: &Listed, other: &Listed) -> Ordering {
        let (a, b) = (&one.connection, &other.connection);
        match self.sort {
            Column::Id => a.id.cmp(&b.id),
            Column::Age => b.age_seconds.total_cmp(&a.age_seconds),
            Column::Client => a.client.cmp(&b.client),
            Column::Target => a.target.cmp(&b.target),
            Column::Chain => a.chain.cmp(&b.chain),
            Column::Sent => b.bytes_sent.cmp(&a.bytes_sent),
            Column::Received => b.bytes_received.cmp(&a.bytes_received),
            Column::Rate => self.rate(other).total_cmp(&self.rate(one)),
        }
    }
}

impl Column {
    /// All columns, from left to right.
    pub(super) const ALL: [Self; 8] = [
        Self::Id,
        Self::Age,
        Self::Client,
        Self::Target,
        Self::Chain,
        Self::Sent,
        Self::Received,
        Self::Rate,
    ];

    /// Returns the heading of the column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Age => "age",
            Self::Client => "client",
            Self::Target => "target",
            Self::Chain => "chain",
            Self::Sent => "sent",
            Self::Received => "recv",
            Self::Rate => "rate",
        }
    }

    fn next(self) -> Self {
        let position = Self::ALL.iter().position(|column| *column == self).unwrap_or_default();
        Self::ALL[(position + 1) % Self::ALL.len()]
    }
}

/// Returns whether a row contains `filter`, which is in lower case.
fn contains(row: &Listed, filter: &str) -> bool {
    let of = &row.connection;
    let process = row.process.as_ref().map(ToString::to_string).unwrap_or_default();
    let session = of.session.clone().unwrap_or_default();
    let hops = hops(&of.hops);
    let client = of.client.to_string();
    let texts: [&str; 7] =
        [&client, &process, &of.protocol, &of.target, &of.chain, &hops, &session];
    texts.iter().any(|text| text.to_lowercase().contains(filter))
}

/// The longest filter.
const FILTER_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::view::tests::{overview, row};

    fn press(screen: &mut Screen, keys: &str) -> Wish {
        let mut wish = Wish::Nothing;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                'v' => KeyCode::Down,
                '^' => KeyCode::Up,
                other => KeyCode::Char(other),
            };
            wish = screen.press(KeyEvent::new(code, KeyModifiers::NONE));
        }
        wish
    }

    fn screen() -> Screen {
        let mut screen = Screen::new(false);
        let rows =
            vec![row(1, "b.test:443", 10), row(2, "a.test:443", 30), row(3, "c.test:80", 20)];
        screen.update(rows, overview(), Instant::now());
        screen
    }

    fn ids(screen: &Screen) -> Vec<u64> {
        screen.shown().iter().map(|row| row.connection.id).collect()
    }

    #[test]
    fn rows_are_sorted_by_one_column_after_the_other() {
        let mut screen = screen();
        assert_eq!(ids(&screen), [1, 2, 3], "without a rate, by number");
        while screen.sort != Column::Target {
            press(&mut screen, "s");
        }
        assert_eq!(ids(&screen), [2, 1, 3]);
        press(&mut screen, "r");
        assert_eq!(ids(&screen), [3, 1, 2]);
        press(&mut screen, "rss");
        assert_eq!((screen.sort, ids(&screen)), (Column::Sent, vec![2, 3, 1]));
    }

    #[test]
    fn typing_filters_and_escape_shows_all_again() {
        let mut screen = screen();
        press(&mut screen, "/C.TEQ");
        assert_eq!(ids(&screen), [0; 0]);
        press(&mut screen, "\u{8}St\n");
        assert_eq!((ids(&screen), screen.is_typing), (vec![3], false));
        assert_eq!(
            press(&mut screen, "k"),
            Wish::Kill(3),
            "the filter has ended, so keys are keys"
        );
        press(&mut screen, "\u{1b}");
        assert_eq!(ids(&screen), [1, 2, 3]);
    }

    #[test]
    fn the_chosen_connection_is_killed_wherever_it_moves() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, "k"), Wish::Kill(1), "the first without a choice");
        assert_eq!(press(&mut screen, "vk"), Wish::Kill(2));
        press(&mut screen, "r");
        assert_eq!(press(&mut screen, "k"), Wish::Kill(2));
        assert_eq!(press(&mut screen, "vvvvvk"), Wish::Kill(1), "the last in this order");
        screen.update(Vec::new(), overview(), Instant::now());
        assert_eq!(press(&mut screen, "v^k"), Wish::Nothing);
        assert_eq!(press(&mut screen, "q"), Wish::Leave);
    }
}
