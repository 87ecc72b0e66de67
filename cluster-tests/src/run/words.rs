//! What a fault does here, in words, and whom it hits.

use crate::schedule::cast::Cast;
use crate::schedule::effect::World;
use crate::schedule::fault::Fault;

/// The members that are not well by themselves: their lives, their disks, their clocks.
fn beset(world: &World) -> Vec<usize> {
    let nodes = world.lives.keys().chain(world.disks.keys());
    nodes.chain(world.clocks.keys()).copied().collect()
}

/// The members that are worse off than the others: by their lives, or on the smaller side of a cut.
pub(super) fn struck(world: &World, cast: &Cast) -> Vec<usize> {
    let mut struck = beset(world);
    let reach = |node: usize| {
        let both = |other: &&usize| {
            !world.weather.is_cut(node, **other) && !world.weather.is_cut(**other, node)
        };
        cast.members().iter().filter(both).count()
    };
    struck.extend(
        cast.members()
            .iter()
            .filter(|node| reach(**node) < cast.majority()),
    );
    struck.sort_unstable();
    struck.dedup();
    struck
}

/// "the leader is cut off from everybody: n2 (leader) --x-- n1, n3"
pub(super) fn describe(fault: &Fault, world: &World, cast: &Cast) -> String {
    let name = |node: usize| {
        if cast.leader == Some(node) {
            format!("n{node} (leader)")
        } else {
            format!("n{node}")
        }
    };
    let mut parts: Vec<String> = beset(world).into_iter().map(name).collect();
    let links = world.weather.ways();
    // A fault of all links has said so.
    for (from, to, quality) in links.filter(|(.., quality)| quality.cut.is_some()) {
        let back = world.weather.way(to, from) == *quality;
        if back && from > to {
            continue;
        }
        let arrow = if back { "--x--" } else { "--x->" };
        parts.push(format!("{} {arrow} {}", name(from), name(to)));
    }
    if parts.is_empty() {
        return fault.to_string();
    }
    format!("{fault}: {}", parts.join(", "))
}
