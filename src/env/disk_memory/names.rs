//! Which names there are, and how they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a name stands for. Files are known by the number that they got when they were created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(u64),
}

pub(super) type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create(PathBuf, Node),
    Rename {
        from: PathBuf,
        to: PathBuf,
        node: Node,
    },
    /// A file, or a directory with all that is in it.
    Remove(PathBuf, Node),
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Rename { from, to, node } => {
                take_tree(names, to);
                if names.get(from) == Some(node) {
                    for (inner, node) in take_tree(names, from) {
                        names.insert(beneath(to, &inner), node);
                    }
                }
                // Even if nothing else of the file's past is durable, this is.
                names.insert(to.clone(), *node);
            }
            Self::Remove(path, node) => {
                if names.get(path) == Some(node) {
                    take_tree(names, path);
                }
            }
        }
    }

    /// Whether a sync of `dir` makes it durable.
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let here = |path: &Path| path.parent() == Some(dir);
        match self {
            Self::Create(path, _) | Self::Remove(path, _) => here(path),
            Self::Rename { from, to, .. } => here(from) || here(to),
        }
    }

    pub(super) fn node(&self) -> Node {
        match self {
            Self::Create(_, node) | Self::Rename { node, .. } | Self::Remove(_, node) => *node,
        }
    }
}

/// Takes `path` and all below it away: by their names relative to it.
fn take_tree(names: &mut Names, path: &Path) -> Vec<(PathBuf, Node)> {
    let inside = names.range(path.to_owned()..);
    let inside = inside.take_while(|(name, _)| name.starts_with(path));
    let inside: Vec<PathBuf> = inside.map(|(name, _)| name.clone()).collect();
    let mut taken = Vec::with_capacity(inside.len());
    for name in inside {
        if let (Some(node), Ok(inner)) = (names.remove(&name), name.strip_prefix(path)) {
            taken.push((inner.to_owned(), node));
        }
    }
    taken
}

/// As `join`, which would end the name of a file with a slash.
fn beneath(dir: &Path, inner: &Path) -> PathBuf {
    if inner.as_os_str().is_empty() {
        dir.to_owned()
    } else {
        dir.join(inner)
    }
}

/// Whether `path` is where every file system begins.
pub(super) fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new("/")
}

pub(super) fn is_dir(names: &Names, path: &Path) -> bool {
    is_root(path) || names.get(path) == Some(&Node::Dir)
}

/// Drops what lies in directories that are not there.
pub(super) fn drop_orphans(names: Names) -> Names {
    let mut kept = Names::new();
    // A directory sorts before what is in it.
    for (path, node) in names {
        if path.parent().is_none_or(|parent| is_dir(&kept, parent)) {
            kept.insert(path, node);
        }
    }
    kept
}
