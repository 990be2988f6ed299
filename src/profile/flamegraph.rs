//! A picture of a dump: one box a frame, as wide as tasks stand in it, callers above.
//!
//! It is written so that the strictest policy of a browser shows it: colours are attributes, not styles, and its one
//! script is constant, so that a policy can name it by its [hash](SCRIPT_HASH).

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use super::dump::Dump;
use super::tasks::Groups;

/// What the script is called in a policy: the SHA-256 of it, in base64.
pub(crate) const SCRIPT_HASH: &str = "sha256-RBv86xfzEiu2O9voNlpirGOZqgVgbEfkaB+bdrk5ToI=";

/// The picture, as SVG.
pub(crate) fn render(name: &str, dump: &Dump) -> String {
    let mut tree = Tree::new();
    for (group, sum) in Groups::of(dump).sorted() {
        let mut path = vec![group.kind.name().to_owned()];
        let frames = group.frames();
        path.extend(frames.iter().rev().map(|frame| match (&frame.file, frame.line) {
            (Some(file), Some(line)) if frame.address != 0 => format!("{} ({file}:{line})", frame.function),
            _ => frame.function.to_string(),
        }));
        tree.add(&path, u64::try_from(sum.tasks).unwrap_or_default());
    }
    tree.svg(name, &dump.remark())
}

/// Frames by the path that leads to them.
struct Tree {
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    weight: u64,
    children: Vec<usize>,
    by_name: HashMap<String, usize>,
}

impl Node {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            weight: 0,
            children: Vec::new(),
            by_name: HashMap::new(),
        }
    }
}

impl Tree {
    fn new() -> Self {
        Self {
            nodes: vec![Node::new("all")],
        }
    }

    /// Adds tasks at the end of a path, as far as there is room for it.
    fn add(&mut self, path: &[String], weight: u64) {
        let mut at = 0;
        self.weigh(at, weight);
        for name in path.iter().take(MAX_DEPTH) {
            let known = self
                .nodes
                .get(at)
                .and_then(|node| node.by_name.get(name))
                .copied();
            at = match known {
                Some(child) => child,
                None if self.nodes.len() >= MAX_NODES => return,
                None => self.grow(at, name),
            };
            self.weigh(at, weight);
        }
    }

    fn weigh(&mut self, at: usize, weight: u64) {
        if let Some(node) = self.nodes.get_mut(at) {
            node.weight = node.weight.saturating_add(weight);
        }
    }

    fn grow(&mut self, parent: usize, name: &str) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node::new(name));
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.push(child);
            node.by_name.insert(name.to_owned(), child);
        }
        child
    }

    fn svg(&self, name: &str, remark: &str) -> String {
        let total = self.nodes.first().map_or(0, |node| node.weight);
        let (mut boxes, mut deepest) = (String::new(), 0u32);
        // Each with its depth, its left edge, and how many tasks stand left of it.
        let mut open = vec![(0usize, 0u32, 0u64)];
        while let Some((at, depth, left)) = open.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            let (x, width) = (scaled(left, total), scaled(node.weight, total));
            if at > 0 && width < NARROWEST {
                continue;
            }
            deepest = deepest.max(depth);
            write_box(&mut boxes, node, (x, width, depth), total);
            let mut left = left;
            for child in &node.children {
                open.push((*child, depth + 1, left));
                left = left.saturating_add(self.nodes.get(*child).map_or(0, |node| node.weight));
            }
        }
        let height = TOP + ROW * (deepest + 1) + 10;
        let (name, remark) = (Xml(name), Xml(remark));
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" data-width=\"{WIDTH}\" \
             font-family=\"monospace\" font-size=\"11\">\n\
             <title>{name}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"rgb(250,250,245)\"/>\n\
             <text x=\"3\" y=\"14\">{name}: {remark}</text>\n\
             <text x=\"3\" y=\"30\" id=\"reset\" cursor=\"pointer\" text-decoration=\"underline\">whole</text>\n\
             <text x=\"60\" y=\"30\" id=\"found\" cursor=\"pointer\" text-decoration=\"underline\">search</text>\n\
             {boxes}<script><![CDATA[{SCRIPT}]]></script>\n</svg>\n"
        )
    }
}

fn write_box(to: &mut String, node: &Node, (x, width, depth): (f64, f64, u32), total: u64) {
    let y = TOP + ROW * depth;
    let name = Xml(&node.name);
    let (red, green, blue) = colour(&node.name);
    let tasks = node.weight;
    let share = scaled(tasks, total) * 100.0 / f64::from(WIDTH);
    // To write to a string cannot fail.
    let _ = writeln!(
        to,
        "<g data-n=\"{name}\" data-x=\"{x:.3}\" data-w=\"{width:.3}\" cursor=\"pointer\">\
         <title>{name}: {tasks} tasks, {share:.1} %</title>\
         <rect x=\"{x:.3}\" y=\"{y}\" width=\"{:.3}\" height=\"{}\" fill=\"rgb({red},{green},{blue})\"/>\
         <text x=\"{:.3}\" y=\"{}\">{}</text></g>",
        (width - 0.5).max(0.1),
        ROW - 1,
        x + 3.0,
        y + 12,
        Xml(&fitting(&node.name, width)),
    );
}

/// As much of a name as a box has room for.
fn fitting(name: &str, width: f64) -> String {
    // Of the width of a box, which is at most 1,200.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of floats saturates"
    )]
    let room = ((width - 6.0) / 6.6) as usize;
    if room < 3 {
        return String::new();
    }
    if name.chars().count() <= room {
        return name.to_owned();
    }
    name.chars().take(room - 2).chain("..".chars()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a picture is not exact")]
fn scaled(weight: u64, total: u64) -> f64 {
    f64::from(WIDTH) * weight as f64 / total.max(1) as f64
}

/// A warm colour, always the same for a name.
fn colour(name: &str) -> (u8, u8, u8) {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [a, b, c, _] = hash.to_le_bytes();
    (205 + a % 50, 110 + b % 110, 40 + c % 60)
}

/// A text that XML can hold, between tags and in a quoted attribute.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // XML knows no way to write these.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => f.write_char('_')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Boxes that a picture has at most; what is beyond is part of the box above.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 200;
/// Boxes that are narrower are left out.
const NARROWEST: f64 = 0.2;
const WIDTH: u32 = 1_200;
const ROW: u32 = 17;
/// Where the first row begins.
const TOP: u32 = 40;

const SCRIPT: &str = include_str!("../web/flamegraph.js");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::dump::Waits;
    use super::super::interned::Stack;
    use super::super::waits::tests::{dump_of, frame, stack, task};
    use super::*;

    #[test]
    fn boxes_are_as_wide_as_tasks_stand_in_them() {
        let at = |leaf: &str| Waits::At(vec![stack(&[leaf, "app::serve"])]);
        let dump = dump_of(vec![
            task(1, at("recv")),
            task(2, at("recv")),
            task(3, at("sleep")),
        ]);
        let svg = render("tasks", &dump);
        for shown in [
            "<title>all: 3 tasks, 100.0 %</title>",
            "<title>profile-unit: 3 tasks, 100.0 %</title>",
            "<title>app::serve (src/a.rs:7): 3 tasks, 100.0 %</title>",
            "<title>recv (src/a.rs:7): 2 tasks, 66.7 %</title>",
            "<title>sleep (src/a.rs:7): 1 tasks, 33.3 %</title>",
            "data-x=\"800.000\" data-w=\"400.000\"",
        ] {
            assert!(svg.contains(shown), "{shown}: {svg}");
        }
    }

    #[test]
    fn nothing_that_xml_knows_comes_from_a_name() {
        let hostile = "<b onclick='x'>\"&\u{1b}]]></script>";
        let frames = vec![frame(1, hostile)];
        let stack = Arc::new(Stack { frames, cut: false });
        let svg = render(hostile, &dump_of(vec![task(1, Waits::At(vec![stack]))]));
        assert!(!svg.contains("<b ") && !svg.contains('\u{1b}'), "{svg}");
        assert_eq!(svg.matches("</script>").count(), 1);
        assert!(svg.contains("&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;_]]&gt;&lt;/script&gt; (src/a.rs:7)"));
    }

    #[test]
    fn the_picture_stays_small() {
        let mut tree = Tree::new();
        for path in 0..30_000 {
            tree.add(&[format!("root{path}"), "leaf".to_owned()], 1);
        }
        assert_eq!(tree.nodes.len(), MAX_NODES);
        assert_eq!(tree.nodes[0].weight, 30_000);
        let mut deep = Tree::new();
        deep.add(&vec!["again".to_owned(); 10_000], 1);
        assert_eq!(deep.nodes.len(), MAX_DEPTH + 1);
        assert!(deep.svg("deep", "").len() < 200_000);
    }

    #[test]
    fn the_script_is_the_one_that_the_policy_names() {
        assert!(!SCRIPT.contains('\r') && !SCRIPT.contains("]]>"));
        let expected = format!("sha256-{}", base64(&sha256(SCRIPT.as_bytes())));
        assert_eq!(SCRIPT_HASH, expected);
    }

    /// As FIPS 180-4 has it.
    fn sha256(text: &[u8]) -> Vec<u8> {
        // The first 32 bits of the fractional parts of roots of the first primes.
        let primes = (2u32..).filter(|n| (2..*n).all(|d| n % d != 0));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is below 2^32"
        )]
        let fraction = |root: f64| (root.fract() * 4_294_967_296.0) as u32;
        let primes: Vec<u32> = primes.take(64).collect();
        let k: Vec<u32> = primes.iter().map(|p| fraction(f64::from(*p).cbrt())).collect();
        let mut h: Vec<u32> = primes
            .iter()
            .take(8)
            .map(|p| fraction(f64::from(*p).sqrt()))
            .collect();
        let mut padded = text.to_vec();
        padded.push(0x80);
        padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
        padded.extend_from_slice(&(text.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks(64) {
            let mut w: Vec<u32> = block
                .chunks(4)
                .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
                .collect();
            for i in 16..64 {
                let (a, b) = (w[i - 15], w[i - 2]);
                let a = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
                let b = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
                w.push(w[i - 16].wrapping_add(a).wrapping_add(w[i - 7]).wrapping_add(b));
            }
            let mut v = h.clone();
            for i in 0..64 {
                let e = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
                let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
                let one = [e, choice, k[i], w[i]]
                    .iter()
                    .fold(v[7], |sum, x| sum.wrapping_add(*x));
                let a = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
                let most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
                v.rotate_right(1);
                v[4] = v[4].wrapping_add(one);
                v[0] = one.wrapping_add(a).wrapping_add(most);
            }
            h.iter_mut().zip(&v).for_each(|(h, v)| *h = h.wrapping_add(*v));
        }
        h.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let bits =
                three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            let digits =
                (0..=three.len()).map(|at| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]));
            text.extend(digits);
            text.push_str(&"=".repeat(3 - three.len()));
        }
        text
    }
}
