//! Draws routes, chains and hops, for the terminal and as Mermaid or DOT for documentation.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use crate::{
    cli::GraphFormat,
    config::{ChainConfig, Config, Route},
};

/// The parts of a picture: each route with the chain that it leads to, and each chain with its stops.
#[derive(Debug)]
pub(super) struct Graph {
    routes: Vec<DrawnRoute>,
    chains: Vec<DrawnChain>,
    /// The end of each chain.
    target: String,
}

#[derive(Debug)]
struct DrawnRoute {
    label: String,
    /// An index into the chains.
    chain: usize,
}

#[derive(Debug)]
struct DrawnChain {
    name: String,
    hops: Vec<DrawnHop>,
    switched_off: Vec<String>,
}

#[derive(Debug)]
struct DrawnHop {
    name: String,
    /// The kind and the address, if there is one.
    details: String,
}

impl Graph {
    /// Draws the configuration: all routes, and all chains except a `direct` that no route leads to.
    pub(super) fn of_config(config: &Config) -> Self {
        // Index 0 is the built-in `direct`, which every configuration has. All others were written, also
        // those that no route leads to, which the picture then shows.
        let is_drawn =
            |index: &usize| *index > 0 || config.routes.iter().any(|route| route.chain == *index);
        let drawn: Vec<usize> = (0..config.chains.len()).filter(is_drawn).collect();
        // Routes point into all chains of the configuration, and here into those that are drawn.
        let place = |chain: usize| drawn.iter().position(|drawn| *drawn == chain);
        let routes = config.routes.iter().enumerate().filter_map(|(index, route)| {
            Some(DrawnRoute { label: route_label(index, route), chain: place(route.chain)? })
        });
        Self {
            routes: routes.collect(),
            chains: drawn
                .iter()
                .map(|chain| DrawnChain::new(&config.chains[*chain], config))
                .collect(),
            target: "target".to_owned(),
        }
    }

    /// Draws the way of one request to `target`, by the route at `index`.
    pub(super) fn of_request(config: &Config, index: usize, target: String) -> Self {
        let route = &config.routes[index];
        Self {
            routes: vec![DrawnRoute { label: route_label(index, route), chain: 0 }],
            chains: vec![DrawnChain::new(&config.chains[route.chain], config)],
            target,
        }
    }

    /// Writes the picture.
    pub(super) fn write(&self, format: GraphFormat, out: &mut dyn Write) -> io::Result<()> {
        let drawn = match format {
            GraphFormat::Terminal => self.text(),
            GraphFormat::Mermaid => self.mermaid(),
            GraphFormat::Dot => self.dot(),
        };
        out.write_all(drawn.as_bytes())
    }

    /// Draws for a terminal: routes on the left, each joined to its chain, and the chains below each other.
    ///
    /// Neighbouring routes to one chain share its line, as in
    ///
    /// ```text
    /// 1. localhost      ──▶ direct  ──▶ target
    /// 2. *.example.com  ─┬▶ default ──▶ corporate ──▶ target
    /// 3. everything     ─╯
    /// ```
    fn text(&self) -> String {
        let width = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text.chars().count()).max().unwrap_or(0)
        };
        // Widths are counted in characters, since the arrows and many names are not ASCII.
        let label_width = width(&mut self.routes.iter().map(|route| &*route.label));
        let name_width = width(&mut self.chains.iter().map(|chain| &*chain.name));
        let mut drawn = String::new();
        for (index, DrawnRoute { label, chain }) in self.routes.iter().enumerate() {
            // Only neighbours are joined. Routes are shown in the order in which they are tried, and that
            // must not change.
            let is_same =
                |other: Option<&DrawnRoute>| other.is_some_and(|other| other.chain == *chain);
            let is_joined =
                is_same(index.checked_sub(1).and_then(|before| self.routes.get(before)));
            let joins_next = is_same(self.routes.get(index + 1));
            let _ = match (is_joined, joins_next) {
                (false, false) => write!(drawn, "{label:label_width$} ──▶ "),
                (false, true) => write!(drawn, "{label:label_width$} ─┬▶ "),
                (true, true) => write!(drawn, "{label:label_width$} ─┤"),
                (true, false) => write!(drawn, "{label:label_width$} ─╯"),
            };
            if !is_joined {
                self.path(&self.chains[*chain], name_width, &mut drawn);
            }
            drawn.push('\n');
        }
        // A chain without a route is most likely a mistake, so it is shown.
        let is_unused = |index: &usize| !self.routes.iter().any(|route| route.chain == *index);
        for index in (0..self.chains.len()).filter(is_unused) {
            let _ = write!(drawn, "{:label_width$}     ", "(no route)");
            self.path(&self.chains[index], name_width, &mut drawn);
            drawn.push('\n');
        }
        drawn
    }

    /// Draws a chain from its name to the target.
    fn path(&self, chain: &DrawnChain, name_width: usize, drawn: &mut String) {
        let _ = write!(drawn, "{:name_width$}", chain.name);
        for hop in &chain.hops {
            let _ = write!(drawn, " ──▶ {}", hop.name);
        }
        let _ = write!(drawn, " ──▶ {}", self.target);
        if !chain.switched_off.is_empty() {
            let _ = write!(drawn, "  (switched off: {})", chain.switched_off.join(", "));
        }
    }

    /// Draws as a Mermaid flowchart.
    fn mermaid(&self) -> String {
        // Nodes are numbered (`r0`, `c0`, `c0h0`). Names of operators may have characters that identifiers
        // can't have, and two chains may share a hop, which is a node in each of them.
        let mut drawn = "flowchart LR\n".to_owned();
        for (index, route) in self.routes.iter().enumerate() {
            let _ = writeln!(drawn, "  r{index}[\"{}\"]", mermaid_text(&route.label));
        }
        let _ = writeln!(drawn, "  target([\"{}\"])", mermaid_text(&self.target));
        for (index, chain) in self.chains.iter().enumerate() {
            let _ = writeln!(drawn, "  c{index}{{{{\"{}\"}}}}", mermaid_text(&chain.label()));
            for (stop, hop) in chain.hops.iter().enumerate() {
                let (name, details) = (mermaid_text(&hop.name), mermaid_text(&hop.details));
                let _ = writeln!(drawn, "  c{index}h{stop}[\"{name}<br/>{details}\"]");
            }
        }
        for (from, to) in self.edges() {
            let _ = writeln!(drawn, "  {from} --> {to}");
        }
        drawn
    }

    /// Draws as a graph of Graphviz.
    fn dot(&self) -> String {
        // The nodes are called as in `mermaid`, since `edges` serves both.
        let mut drawn = "digraph mooltiroute {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for (index, route) in self.routes.iter().enumerate() {
            let _ = writeln!(drawn, "  r{index} [label=\"{}\"];", dot_text(&route.label));
        }
        let _ = writeln!(drawn, "  target [label=\"{}\", shape=ellipse];", dot_text(&self.target));
        for (index, chain) in self.chains.iter().enumerate() {
            let label = dot_text(&chain.label());
            let _ = writeln!(drawn, "  c{index} [label=\"{label}\", shape=hexagon];");
            for (stop, hop) in chain.hops.iter().enumerate() {
                let (name, details) = (dot_text(&hop.name), dot_text(&hop.details));
                let _ = writeln!(drawn, "  c{index}h{stop} [label=\"{name}\\n{details}\"];");
            }
        }
        for (from, to) in self.edges() {
            let _ = writeln!(drawn, "  {from} -> {to};");
        }
        drawn.push_str("}\n");
        drawn
    }

    /// Returns the arrows of the picture, between the names that both formats give to its nodes.
    fn edges(&self) -> Vec<(String, String)> {
        let mut edges = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            edges.push((format!("r{index}"), format!("c{}", route.chain)));
        }
        for (index, chain) in self.chains.iter().enumerate() {
            let mut from = format!("c{index}");
            // Each arrow begins where the last one ended, from the chain over its hops to the target.
            for stop in 0..chain.hops.len() {
                let to = format!("c{index}h{stop}");
                edges.push((from, to.clone()));
                from = to;
            }
            edges.push((from, "target".to_owned()));
        }
        edges
    }
}

impl DrawnChain {
    fn new(chain: &ChainConfig, config: &Config) -> Self {
        let hops = chain.hops.iter().map(|hop| {
            let hop = &config.hops[*hop];
            let address = hop.hop.as_ref().and_then(|built| built.describe().address.cloned());
            let address = address.map(|address| format!(", {address}")).unwrap_or_default();
            DrawnHop { name: hop.name.to_string(), details: format!("{}{address}", hop.kind) }
        });
        Self {
            name: chain.name.to_string(),
            hops: hops.collect(),
            switched_off: chain.switched_off.iter().map(ToString::to_string).collect(),
        }
    }

    /// Returns the text of the chain's node.
    fn label(&self) -> String {
        match self.switched_off.as_slice() {
            [] => format!("chain {}", self.name),
            off => format!("chain {} (switched off: {})", self.name, off.join(", ")),
        }
    }
}

/// Returns the number and the targets of a route, cut if there are many.
fn route_label(index: usize, route: &Route) -> String {
    let label = format!("{}. {}", index + 1, route.rule);
    if label.chars().count() <= LABEL_CHARS_MAX {
        return label;
    }
    let cut: String = label.chars().take(LABEL_CHARS_MAX - 1).collect();
    // A target that is only there in part would be read as another one.
    let end = cut.rfind(", ").unwrap_or(cut.len());
    format!("{}, …", &cut[..end])
}

/// Escapes `text` for a Mermaid label in quotes, in which `#` begins an entity.
fn mermaid_text(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}

/// Escapes `text` for a DOT label in quotes.
fn dot_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The longest text of a route.
const LABEL_CHARS_MAX: usize = 48;
