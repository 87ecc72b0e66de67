//! Medians, ratios and the bar, as one Markdown table.

use super::load::{Operation, Target};
use super::sample::Sample;
use super::{Cell, Plan};
use crate::cluster::program::Program;
use std::collections::BTreeMap;
use std::fmt;

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::Put => "put",
            Operation::Get => "get",
        };
        write!(formatter, "{operation} c={}", self.clients)
    }
}

/// All samples of a run.
#[derive(Debug, Default)]
pub struct Report {
    quorate: BTreeMap<Cell, Vec<Sample>>,
    etcd: BTreeMap<Cell, Vec<Sample>>,
}

impl Report {
    pub fn add(&mut self, system: Program, cell: Cell, sample: Sample) {
        let samples = match system {
            Program::Quorate => &mut self.quorate,
            Program::Etcd => &mut self.etcd,
        };
        samples.entry(cell).or_default().push(sample);
    }

    /// The table, and under it what does not reach the bar.
    pub fn markdown(&self, plan: &Plan) -> String {
        let mut lines = vec![
            format!(
                "# Quorate and etcd, three members each and the client on one machine\n\n256-byte \
                 values, closed loop, {} s a cell, medians of {} round(s), connections {}, fsync on. CPU and fsyncs are summed over the three servers.\n",
                plan.duration.as_secs(),
                plan.rounds,
                match plan.target {
                    Target::Spread => "spread over the members",
                    Target::Leader => "to the leader",
                }
            ),
            "| cell | system | op/s | p50 ms | p99 ms | servers us/op | client us/op | fsyncs/put \
             | servers MB | errors |"
                .to_owned(),
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|".to_owned(),
        ];
        let mut misses = Vec::new();
        let mut cells: Vec<Cell> = self
            .quorate
            .keys()
            .chain(self.etcd.keys())
            .copied()
            .collect();
        cells.sort_unstable();
        cells.dedup();
        for cell in cells {
            let ours = self.quorate.get(&cell).map(|samples| median(samples));
            let theirs = self.etcd.get(&cell).map(|samples| median(samples));
            for (name, sample) in [("quorate", ours), ("etcd", theirs)] {
                if let Some(sample) = sample {
                    lines.push(row(&format!("| {cell} | {name} |"), &sample));
                }
            }
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                lines.push(ratios(cell, &ours, &theirs));
                misses.extend(below_the_bar(cell, &ours, &theirs));
            }
        }
        let mut text = lines.join("\n");
        text.push('\n');
        if !self.quorate.is_empty() && !self.etcd.is_empty() {
            let verdict = if misses.is_empty() {
                "\nEvery cell reaches the bar.\n".to_owned()
            } else {
                format!("\nBelow the bar:\n\n- {}\n", misses.join("\n- "))
            };
            text.push_str(&verdict);
        }
        text
    }
}

fn row(head: &str, sample: &Sample) -> String {
    let fsyncs = match sample.fsyncs_per_put {
        none if none <= 0.0 => "-".to_owned(),
        some => format!("{some:.3}"),
    };
    format!(
        "{head} {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {fsyncs} | {:.0} | {:.0} |",
        sample.per_second,
        sample.p50_ms,
        sample.p99_ms,
        sample.servers_cpu_us,
        sample.client_cpu_us,
        sample.servers_mb,
        sample.errors
    )
}

/// Quorate's figure over etcd's.
fn ratios(cell: Cell, ours: &Sample, theirs: &Sample) -> String {
    let ratio = |ours: f64, theirs: f64| {
        if theirs > 0.0 {
            format!("{:.2}x", ours / theirs)
        } else {
            "-".to_owned()
        }
    };
    format!(
        "| {cell} | ratio | {} | {} | {} | {} | {} | {} | {} | |",
        ratio(ours.per_second, theirs.per_second),
        ratio(ours.p50_ms, theirs.p50_ms),
        ratio(ours.p99_ms, theirs.p99_ms),
        ratio(ours.servers_cpu_us, theirs.servers_cpu_us),
        ratio(ours.client_cpu_us, theirs.client_cpu_us),
        ratio(ours.fsyncs_per_put, theirs.fsyncs_per_put),
        ratio(ours.servers_mb, theirs.servers_mb),
    )
}

/// The bar: operations, p50 and CPU no worse than etcd's, p99 within 1.2 times, and a lone
/// client's put in half the time. A figure of a load in which calls failed is none.
fn below_the_bar(cell: Cell, ours: &Sample, theirs: &Sample) -> Vec<String> {
    let p50_bound = if cell
        == (Cell {
            operation: Operation::Put,
            clients: 1,
        }) {
        0.5
    } else {
        1.0
    };
    let at_most = [
        ("p50", ours.p50_ms / theirs.p50_ms, p50_bound),
        ("p99", ours.p99_ms / theirs.p99_ms, 1.2),
        (
            "server CPU",
            ours.servers_cpu_us / theirs.servers_cpu_us,
            1.0,
        ),
    ];
    let mut missed = Vec::new();
    if ours.errors > 0.0 || theirs.errors > 0.0 {
        missed.push(format!(
            "{cell}: {:.0} calls of ours failed, {:.0} of etcd's: nothing to compare",
            ours.errors, theirs.errors
        ));
    }
    let speed = ours.per_second / theirs.per_second;
    if speed < 1.0 {
        missed.push(format!(
            "{cell}: op/s is {speed:.2} of etcd's; must be at least 1"
        ));
    }
    for (name, ratio, bound) in at_most {
        if ratio > bound {
            missed.push(format!(
                "{cell}: {name} is {ratio:.2} of etcd's; must be at most {bound}"
            ));
        }
    }
    missed
}

/// Of every figure by itself.
fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| {
        let mut figures: Vec<f64> = samples.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let upper = figures.get(middle).copied().unwrap_or(0.0);
        let lower = middle
            .checked_sub(1)
            .and_then(|at| figures.get(at))
            .copied();
        if figures.len() % 2 == 1 {
            upper
        } else {
            f64::midpoint(upper, lower.unwrap_or(upper))
        }
    };
    Sample {
        per_second: of(|s| s.per_second),
        p50_ms: of(|s| s.p50_ms),
        p99_ms: of(|s| s.p99_ms),
        servers_cpu_us: of(|s| s.servers_cpu_us),
        client_cpu_us: of(|s| s.client_cpu_us),
        fsyncs_per_put: of(|s| s.fsyncs_per_put),
        servers_mb: of(|s| s.servers_mb),
        errors: of(|s| s.errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: f64) -> Sample {
        Sample {
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            servers_cpu_us: 100.0,
            ..Sample::default()
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        let median_of = |list: &[f64]| {
            let samples: Vec<Sample> = list.iter().map(|figure| sample(*figure)).collect();
            median(&samples).per_second
        };
        assert!((median_of(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median_of(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!((median_of(&[7.0]) - 7.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_worse_is_named() {
        let cell = Cell {
            operation: Operation::Put,
            clients: 64,
        };
        assert!(below_the_bar(cell, &sample(2.0), &sample(2.0)).is_empty());
        let missed = below_the_bar(cell, &sample(1.0), &sample(2.0));
        assert_eq!(
            missed,
            ["put c=64: op/s is 0.50 of etcd's; must be at least 1"]
        );
        let failed = Sample {
            errors: 1.0,
            ..sample(2.0)
        };
        assert_eq!(below_the_bar(cell, &failed, &sample(2.0)).len(), 1);
        let alone = Cell {
            operation: Operation::Put,
            clients: 1,
        };
        let missed = below_the_bar(alone, &sample(2.0), &sample(2.0));
        assert_eq!(
            missed,
            ["put c=1: p50 is 1.00 of etcd's; must be at most 0.5"]
        );
    }
}
