//! Draws the screen.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap},
};

use super::screen::{Column, Screen};
use crate::{
    commands::ps::listed::{Listed, age, target},
    control::api::{ChainOverview, HopOverview},
};

/// Draws the screen in the room that there is. The connections get what the other parts leave.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    // The connections are what people come for. So the panel of chains and hops takes a quarter of the
    // height, and failures are shown only if there is room for everything.
    let entries = screen.overview.chains.len().max(screen.overview.hops.len());
    let panel = (entries as u16 + 1).min(frame.area().height / 4).max(2);
    let has_failures = !screen.overview.failures.is_empty();
    let failures = if has_failures && frame.area().height >= 20 { 5 } else { 0 };
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(panel),
        Constraint::Min(3),
        Constraint::Length(failures),
        Constraint::Length(1),
    ]);
    let [title, panel, connections, failures, keys] = parts.areas(frame.area());
    frame.render_widget(Paragraph::new(title_line(screen)), title);
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
    let [chains, hops] = halves.areas(panel);
    frame.render_widget(chain_table(screen), chains);
    frame.render_widget(hop_table(screen), hops);
    draw_connections(frame, screen, connections);
    frame.render_widget(failure_text(screen), failures);
    frame.render_widget(Paragraph::new(keys_line(screen)), keys);
}

fn title_line(screen: &Screen) -> Line<'_> {
    let of = &screen.overview;
    let (version, pid, generation) = (&of.version, of.pid, of.generation);
    let up = age(of.uptime_seconds as f64);
    let mut words = vec![Span::from(format!("mooltiroute {version}  ")).bold()];
    // Before the numbers, since the end of a long line is cut.
    if of.is_draining {
        words.push(Span::styled("shutting down  ", deadline(screen)));
    }
    if of.is_rejected {
        words.push(Span::styled("config rejected  ", deadline(screen)));
    }
    words.push(Span::from(format!(
        "generation {generation}  {} of {} clients  up {up}  process {pid}",
        of.open, of.limit
    )));
    Line::from(words)
}

fn chain_table(screen: &Screen) -> Table<'_> {
    let row = |chain: &ChainOverview| {
        let way = if chain.hops.is_empty() { "direct".to_owned() } else { chain.hops.join(", ") };
        let rate = short_rate(screen.chain_rate(&chain.name));
        Row::new([chain.name.clone(), way, chain.counts.open.to_string(), rate])
    };
    let widths = [Constraint::Max(12), Constraint::Fill(1), Constraint::Length(5), RATE];
    Table::new(screen.overview.chains.iter().map(row), widths)
        .header(head(["chain", "hops", "open", "rate"]))
}

fn hop_table(screen: &Screen) -> Table<'_> {
    let row = |hop: &HopOverview| {
        let state = match hop.is_enabled {
            true => Span::styled("on", accent(screen)),
            false => Span::from("off").dim(),
        };
        let rate = short_rate(screen.hop_rate(&hop.name));
        let (open, failed) = (hop.counts.open.to_string(), hop.counts.failed.to_string());
        let cells = [hop.name.clone().into(), state, open.into(), failed.into(), rate.into()];
        Row::new(cells.map(Cell::from))
    };
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(6),
        RATE,
    ];
    Table::new(screen.overview.hops.iter().map(row), widths)
        .header(head(["hop", "state", "open", "failed", "rate"]))
}

fn draw_connections(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let shown = screen.shown();
    let columns = columns(area.width);
    let titles = columns.iter().map(|column| match screen.sort == *column {
        true => format!("{}{}", column.name(), if screen.is_reversed { "^" } else { "v" }),
        false => column.name().to_owned(),
    });
    let title = match (screen.filter.as_str(), screen.is_typing) {
        ("", false) => format!(" {} open ", shown.len()),
        (filter, true) => format!(" {} open with /{filter}_ ", shown.len()),
        (filter, false) => format!(" {} open with /{filter} ", shown.len()),
    };
    let client_width = client_width(area.width);
    let rows = shown.iter().map(|row| {
        Row::new(columns.iter().map(|column| cell(*column, screen, row, client_width.into())))
    });
    let table = Table::new(rows, columns.iter().map(|column| width(*column, client_width)))
        .header(head(titles))
        .block(Block::new().borders(Borders::TOP).title(title))
        .row_highlight_style(Modifier::REVERSED);
    let mut state = TableState::new().with_selected(screen.position(&shown));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Returns the columns that a terminal of `width` columns has room for. The target is what people look for, so others give way.
fn columns(width: u16) -> Vec<Column> {
    let needed = |column: &Column| match column {
        Column::Id | Column::Target | Column::Rate => 0,
        Column::Age => 34,
        Column::Client => 50,
        Column::Chain => 65,
        Column::Sent | Column::Received => 75,
    };
    Column::ALL.into_iter().filter(|column| width >= needed(column)).collect()
}

fn cell(column: Column, screen: &Screen, row: &Listed, client_width: usize) -> String {
    let of = &row.connection;
    match column {
        Column::Id => of.id.to_string(),
        Column::Age => age(of.age_seconds),
        Column::Client => match &row.process {
            Some(process) => end_kept(&process.to_string(), client_width),
            None => end_kept(&of.client.to_string(), client_width),
        },
        Column::Target => target(of).into_owned(),
        Column::Chain => of.chain.clone(),
        Column::Sent => short(of.bytes_sent as f64),
        Column::Received => short(of.bytes_received as f64),
        Column::Rate => short_rate(screen.rate(row)),
    }
}

/// Returns how wide the column of clients is in a terminal of `width` columns. At 80, a process of six letters fits with
/// its number.
fn client_width(width: u16) -> u16 {
    (width / 6).clamp(8, 24)
}

/// Shortens `client` to `width` characters. Its end stays, which is the number of a process or the port of an address.
fn end_kept(client: &str, width: usize) -> String {
    let length = client.chars().count();
    if length <= width {
        return client.to_owned();
    }
    let (name, number) = match client.rsplit_once(' ') {
        Some((name, number)) => (name, format!(" {number}")),
        None => ("", client.chars().skip(length + 1 - width).collect()),
    };
    let room = width.saturating_sub(number.chars().count() + 1);
    let name: String = name.chars().take(room).collect();
    format!("{name}…{number}")
}

/// Returns a number of bytes in at most five characters, since a terminal of 80 columns has no room for more.
fn short(bytes: f64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let (mut size, mut unit) = (bytes, 0);
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && size < 9.95);
    format!("{size:.digits$}{}", units[unit])
}

fn short_rate(bytes_per_second: f64) -> String {
    format!("{}/s", short(bytes_per_second))
}

fn failure_text(screen: &Screen) -> Paragraph<'_> {
    let lines = screen.overview.failures.iter().map(|failure| {
        Line::from(vec![
            Span::styled(format!("{} ", failure.status), deadline(screen)),
            Span::from(format!("{} ", failure.target)).bold(),
            // The text has line ends of its own, and is wrapped again at this width.
            Span::from(failure.text.split_whitespace().collect::<Vec<_>>().join(" ")),
        ])
    });
    Paragraph::new(lines.collect::<Vec<_>>())
        .wrap(Wrap { trim: true })
        .block(Block::new().borders(Borders::TOP).title(" failures, the newest first "))
}

fn keys_line(screen: &Screen) -> Line<'_> {
    // If the proxy is silent, the screen is out of date, and keys that ask it for something have to wait.
    if screen.silent_for >= SILENCE_SHOWN {
        let seconds = screen.silent_for.as_secs();
        return Line::from(format!("no answer from the proxy for {seconds} s   q quit")).bold();
    }
    // The result of the last key takes the place of the help until the next key.
    if !screen.message.is_empty() {
        return Line::from(screen.message.as_str()).bold();
    }
    Line::from(match screen.is_typing {
        true => "type to filter   Enter keep   Esc show all",
        false => "Up/Down choose   k kill   s sort   r reverse   / filter   Esc show all   q quit",
    })
}

/// How long an answer may take without a word about it.
const SILENCE_SHOWN: Duration = Duration::from_secs(2);

/// Returns the width of a column of connections. That of clients is `client_width`.
fn width(column: Column, client_width: u16) -> Constraint {
    match column {
        Column::Id | Column::Age | Column::Sent | Column::Received => Constraint::Length(6),
        Column::Client => Constraint::Length(client_width),
        Column::Target => Constraint::Fill(1),
        Column::Chain => Constraint::Max(10),
        Column::Rate => RATE,
    }
}

fn head(names: impl IntoIterator<Item = impl Into<String>>) -> Row<'static> {
    Row::new(names.into_iter().map(Into::<String>::into)).style(Modifier::BOLD)
}

/// Returns the style for a good state, which is plain text without colours.
fn accent(screen: &Screen) -> Style {
    if screen.is_coloured { Style::new().green() } else { Style::new() }
}

/// Returns the style for a bad state.
fn deadline(screen: &Screen) -> Style {
    if screen.is_coloured { Style::new().red().bold() } else { Style::new().bold() }
}

/// The width of a rate.
const RATE: Constraint = Constraint::Length(7);

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use ratatui::{Terminal, backend::TestBackend, style::Color};

    use super::*;
    use crate::{
        control::api::{ChainOverview, HopOverview, ListedConnection, Overview, OverviewCounts},
        state::connections::RecentFailure,
    };

    pub(in crate::commands::top) fn row(id: u64, target: &str, bytes_sent: u64) -> Listed {
        let connection = ListedConnection {
            id,
            age_seconds: 75.0,
            client: "127.0.0.1:50000".parse().unwrap(),
            protocol: "http".into(),
            method: "CONNECT".into(),
            target: target.into(),
            route: 1,
            chain: "default".into(),
            hops: Vec::new(),
            session: None,
            bytes_sent,
            bytes_received: 2048,
            generation: 1,
        };
        Listed { connection, process: None, bytes_per_second: 0.0 }
    }

    pub(in crate::commands::top) fn overview() -> Overview {
        let counts = OverviewCounts { open: 3, failed: 1, bytes_sent: 0, bytes_received: 0 };
        Overview {
            version: "1.2.3".into(),
            pid: 42,
            uptime_seconds: 3_725,
            generation: 7,
            is_rejected: true,
            is_draining: false,
            open: 3,
            limit: 100,
            chains: vec![ChainOverview {
                name: "default".into(),
                hops: vec!["corporate".into()],
                counts,
            }],
            hops: vec![HopOverview {
                name: "corporate".into(),
                kind: "socks5".into(),
                is_enabled: true,
                counts,
            }],
            failures: vec![RecentFailure {
                at: 0,
                target: "x.test:1".into(),
                chain: "default".into(),
                status: 502,
                text: "The hop refused.\nDo this.".into(),
            }],
        }
    }

    fn drawn(width: u16, height: u16, is_coloured: bool) -> Terminal<TestBackend> {
        let mut screen = Screen::new(is_coloured);
        screen.update(vec![row(1, "a.test:443", 10)], overview(), Instant::now());
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &screen)).unwrap();
        terminal
    }

    #[test]
    fn eighty_columns_hold_all_of_it() {
        let terminal = drawn(80, 24, true);
        let text = terminal.backend().to_string();
        for part in [
            "mooltiroute 1.2.3  config rejected  generation 7  3 of 100 clients  up 1h02m",
            "corporate",
            "on",
            "1 open",
            "a.test:443",
            "1m15s",
            "10B",
            "2.0K",
            "ratev",
            "502 x.test:1 The hop refused. Do this.",
            "k kill",
            "q quit",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn a_narrow_terminal_shows_the_target_and_leaves_out_other_columns() {
        for (width, client) in [(30, false), (40, false), (60, true), (74, true), (80, true)] {
            let text = drawn(width, 24, false).backend().to_string();
            assert!(text.contains("a.test:443"), "{width}:\n{text}");
            assert_eq!(text.contains("50000"), client, "{width}:\n{text}");
        }
    }

    #[test]
    fn a_proxy_that_drains_is_said_to_shut_down() {
        let mut screen = Screen::new(false);
        let overview = Overview { is_draining: true, ..overview() };
        screen.update(Vec::new(), overview, Instant::now());
        assert!(title_line(&screen).to_string().contains("shutting down"));
    }

    #[test]
    fn a_proxy_that_does_not_answer_is_said_to_be_silent() {
        let mut screen = Screen::new(false);
        screen.update(vec![row(1, "a.test:443", 10)], overview(), Instant::now());
        let line = |screen: &Screen| keys_line(screen).to_string();
        screen.silent_for = Duration::from_millis(1_900);
        assert!(line(&screen).contains("k kill"));
        screen.silent_for = Duration::from_millis(3_900);
        assert_eq!(line(&screen), "no answer from the proxy for 3 s   q quit");
    }

    #[test]
    fn a_number_of_bytes_is_short() {
        let counts = [0.0, 999.0, 1000.0, 1024.0, 10_239.0, 10_240.0, 1_047_552.0, 5e12].map(short);
        assert_eq!(counts, ["0B", "999B", "1.0K", "1.0K", "10K", "10K", "1.0M", "4.5T"]);
    }

    #[test]
    fn the_end_of_a_client_that_is_too_long_stays() {
        let fitted = |client| end_kept(client, 13);
        assert_eq!(fitted("python 123456"), "python 123456");
        assert_eq!(fitted("chromium 123456"), "chrom… 123456");
        assert_eq!(fitted("127.0.0.1:50000"), "….0.0.1:50000");
    }

    #[test]
    fn any_size_is_drawn() {
        for width in [1, 10, 40, 80, 200] {
            for height in [1, 2, 5, 10, 24, 60] {
                drawn(width, height, true);
            }
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let colours = |terminal: &Terminal<TestBackend>| {
            let cells = terminal.backend().buffer().content.clone();
            cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert!(colours(&drawn(80, 24, true)) > 0);
        assert_eq!(colours(&drawn(80, 24, false)), 0);
    }
}
