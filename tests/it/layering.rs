//! Imports point one way: a module uses those below it, and never one above.
//!
//! The order is that of the architecture. Reading the text and not the compiler's output sees code behind every
//! feature and target, whatever this build has on.

use std::path::Path;

/// From the bottom up. Modules of one line may use each other.
const LAYERS: &[&[&str]] = &[
    &["clock", "config", "error", "utc"],
    // Of `stack` what runs in the host's threads; the rest reads.
    &["stack::copy", "ring"],
    &["task"],
    &["registry"],
    &["event"],
    &["background", "readiness"],
    &["scope"],
    &["supervisor", "worker"],
    &["shutdown"],
    &["cluster"],
    &["stack"],
    &["leak"],
    &["profile"],
    &["export"],
    &["server", "web"],
    &["agent"],
    &["testing", "cli", "demo"],
];

/// Modules whose parts do not know each other either.
const APART: &[&str] = &["export"];

#[test]
fn imports_point_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut files = 0;
    each_file(&src, &mut |path| {
        files += 1;
        let inside = path.strip_prefix(&src).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for violation in violations(&module_of(inside), &text) {
            wrong.push(format!("src/{}:{violation}", inside.display()));
        }
    });
    assert!(files > 20, "only {files} files found");
    assert!(
        wrong.is_empty(),
        "imports that point upwards:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_has_its_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(src).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".rs").unwrap_or(&name);
        let known = matches!(name, "lib" | "main") || layer(&[name]).is_some();
        assert!(
            known,
            "src/{name} has no layer: give it one in tests/it/layering.rs"
        );
    }
}

/// The negative control: this test sees what it is there to see.
#[test]
fn an_upward_import_is_found() {
    let wrong = [
        (&["task", "kind"][..], "use crate::registry::kinds;"),
        (&["task", "kind"], "fn f() { crate::registry::kinds(); }"),
        (&["task", "kind"], "use super::super::registry;"),
        (&["task"], "use super::registry::kinds;"),
        (
            &["task", "kind"],
            "mod tests { mod inner { use super::super::super::super::agent; } }",
        ),
        (&["task", "kind"], "use super::{super::registry, cells};"),
        (&["task", "kind"], "use crate::{clock, registry};"),
        (&["task", "kind"], "use crate::{clock};"),
        (&["task", "kind"], "use crate :: registry;"),
        (&["task", "kind"], "pub(in crate::registry) fn f() {}"),
        // What the crate's front page shows comes from some module: that one is to be named.
        (&["clock"], "use crate::spawn;"),
        (&["clock"], "use crate::*;"),
        (&["clock"], "use crate as root;"),
        (&["registry", "sweep"], "let s = \"//\"; use crate::agent::Agent;"),
        (
            &["registry", "sweep"],
            "let c = '\"'; use crate::agent::Agent; let d = '\"';",
        ),
        (
            &["registry", "sweep"],
            "let s = r#\"\"#; use crate::agent::Agent;",
        ),
        (&["stack", "copy"], "use super::unwind;"),
        (&["ring"], "use crate::stack::unwind::Frame;"),
        (&["supervisor"], "use crate::shutdown;"),
        (&["export", "log"], "use super::prometheus::CATALOGUE;"),
        (&["export", "log"], "use crate::export::prometheus::CATALOGUE;"),
        (&["export", "otlp", "spans"], "use super::super::console;"),
    ];
    for (module, text) in wrong {
        assert_eq!(violations(module, text).len(), 1, "{module:?}: {text}");
    }
    let right = [
        (&["registry", "sweep"][..], "use crate::task::kind::KindId;"),
        (
            &["registry", "sweep"],
            "use super::snapshot; use self::inner::X; use super::super::clock;",
        ),
        (
            &["registry", "sweep"],
            "mod tests { use super::*; use super::super::snapshot; }",
        ),
        (
            &["registry", "sweep"],
            "// use crate::agent;\n/* crate::agent /* */ crate::agent */",
        ),
        (
            &["registry", "sweep"],
            "/// See [`run`](crate::agent::run).\nfn f() { \"crate::agent\"; r#\"crate::agent\"#; }",
        ),
        (&["registry", "sweep"], "pub(crate) fn f<'a>(x: &'a str) {}"),
        (&["event"], "use crate::stack::copy::Copied;"),
        (&["stack", "unwind"], "use super::copy; use crate::registry;"),
        (&["worker"], "use crate::supervisor;"),
        (
            &["export", "otlp", "spans"],
            "use super::ids; use crate::registry;",
        ),
        // The front page and the binary see all.
        (
            &[],
            "mod agent; pub use agent::Agent; pub use crate::task::spawn;",
        ),
    ];
    for (module, text) in right {
        assert_eq!(
            violations(module, text),
            Vec::<String>::new(),
            "{module:?}: {text}"
        );
    }
}

/// All that a module must not name, with the line that does.
fn violations(module: &[impl AsRef<str>], text: &str) -> Vec<String> {
    let module: Vec<&str> = module.iter().map(AsRef::as_ref).collect();
    let tokens = tokens(text);
    let mut found = Vec::new();
    // The inline modules that a token is in, each with the depth of braces outside of it.
    let (mut inline, mut depth) = (Vec::new(), 0usize);
    for at in 0..tokens.len() {
        let (line, token) = &tokens[at];
        let next = |by: usize| tokens.get(at + by).map_or("", |(_, token)| &**token);
        match &**token {
            "mod" if next(2) == "{" => inline.push((next(1).to_owned(), depth)),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last().is_some_and(|(_, outside)| *outside == depth) {
                    inline.pop();
                }
            }
            "crate" | "super" | "self" if at > 0 && tokens[at - 1].1 == "::" => {}
            "crate" if !module.is_empty() && next(1) == "as" => {
                found.push(format!("{line}: `crate` under another name"));
            }
            "crate" | "super" | "self" if next(1) == "::" => {
                let mut here: Vec<&str> = module.clone();
                here.extend(inline.iter().map(|(name, _)| &**name));
                let targets = paths(&tokens, at, &here);
                let wrong = targets.iter().find_map(|path| objection(&module, path));
                // One for each statement: a list is one import.
                found.extend(wrong.map(|wrong| format!("{line}: {wrong}")));
            }
            _ => {}
        }
    }
    found
}

/// The absolute paths that begin at a token: one, or one for each member of a list of imports.
fn paths(tokens: &[(usize, String)], start: usize, here: &[&str]) -> Vec<Vec<String>> {
    let mut base: Vec<String> = here.iter().map(|&name| name.to_owned()).collect();
    let mut at = start;
    loop {
        let token = tokens.get(at).map_or("", |(_, token)| &**token);
        match token {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            "{" => break,
            other => {
                base.push(other.to_owned());
            }
        }
        if tokens.get(at + 1).is_none_or(|(_, token)| token != "::") {
            return vec![base];
        }
        at += 2;
    }
    if base.is_empty() {
        // A list of the crate's own members is never wanted: one import a module.
        return vec![vec!["{".to_owned()]];
    }
    let base: Vec<&str> = base.iter().map(|name| &**name).collect();
    let (mut members, mut depth, mut fresh) = (Vec::new(), 0usize, true);
    for member in at..tokens.len() {
        match &*tokens[member].1 {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => fresh = true,
            _ if depth == 1 && fresh => {
                fresh = false;
                members.extend(paths(tokens, member, &base));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    members
}

/// What is wrong with a module's naming of a path.
fn objection(module: &[&str], path: &[String]) -> Option<String> {
    let path: Vec<&str> = path.iter().map(|name| &**name).collect();
    let first = *module.first()?;
    let target = *path.first()?;
    if target == "{" {
        return Some("a list after `crate::`; one import a module".to_owned());
    }
    let Some(above) = layer(&path) else {
        return Some(format!(
            "`crate::{target}` is no module; name the one that it is from"
        ));
    };
    if above > layer(module)? {
        return Some(format!("{} uses {}", module.join("::"), path.join("::")));
    }
    let part = |path: &[&str]| path.get(1).map(|&part| part.to_owned());
    if APART.contains(&first) && target == first && part(module) != part(&path) && module.len() > 1 {
        return Some(format!("{} uses {}", module.join("::"), path.join("::")));
    }
    None
}

fn layer(path: &[&str]) -> Option<usize> {
    let of = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let first = path.first()?;
    let second = path.get(1).and_then(|second| of(&format!("{first}::{second}")));
    second.or_else(|| of(first))
}

/// The module of a file; none for the front page and the binary.
fn module_of(inside: &Path) -> Vec<String> {
    let path = inside.with_extension("");
    let mut module: Vec<String> = path
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    if module.len() == 1 && matches!(&*module[0], "lib" | "main") {
        module.clear();
    }
    module
}

fn each_file(folder: &Path, f: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, f);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            f(&path);
        }
    }
}

/// Words and marks, each with its line; comments and literals are left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, with: &str| {
        with.chars()
            .enumerate()
            .all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let (mut found, mut line, mut at) = (Vec::new(), 1, 0);
    while let Some(&c) = chars.get(at) {
        let end = if starts(at, "//") {
            skip(&chars, at, |at| starts(at, "\n"))
        } else if starts(at, "/*") {
            block_comment(&chars, at)
        } else if let Some(end) = raw_string(&chars, at) {
            end
        } else if c == '"' {
            quoted(&chars, at)
        } else if c == '\'' {
            character(&chars, at)
        } else if c.is_alphanumeric() || c == '_' {
            let end = skip(&chars, at, |at| {
                !(chars[at].is_alphanumeric() || chars[at] == '_')
            });
            found.push((line, chars[at..end].iter().collect()));
            end
        } else if starts(at, "::") {
            found.push((line, "::".to_owned()));
            at + 2
        } else {
            if !c.is_whitespace() {
                found.push((line, c.to_string()));
            }
            at + 1
        };
        line += chars[at..end].iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    found
}

/// The first place from `at` on of which `end` is true.
fn skip(chars: &[char], at: usize, end: impl Fn(usize) -> bool) -> usize {
    (at..chars.len()).find(|&at| end(at)).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// The end of a raw string that begins here; `None` where none does.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    if start > 0 && word(start - 1) {
        return None;
    }
    let after = match (chars[start], chars.get(start + 1)) {
        ('r', _) => start + 1,
        ('b' | 'c', Some('r')) => start + 2,
        _ => return None,
    };
    let marks = skip(chars, after, |at| chars[at] != '#') - after;
    if chars.get(after + marks) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| chars[at] == '"' && (1..=marks).all(|by| chars.get(at + by) == Some(&'#'));
    Some((skip(chars, after + marks + 1, closes) + 1 + marks).min(chars.len()))
}

fn quoted(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += 1 + usize::from(chars[at] == '\\');
    }
    (at + 1).min(chars.len())
}

/// A character's literal, or only the mark of a lifetime.
fn character(chars: &[char], start: usize) -> usize {
    if chars.get(start + 1) == Some(&'\\') {
        return (skip(chars, start + 3, |at| chars[at] == '\'') + 1).min(chars.len());
    }
    if chars.get(start + 2) == Some(&'\'') {
        start + 3
    } else {
        start + 1
    }
}
