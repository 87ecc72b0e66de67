//! What a run looks like: a report that one reads, shares, and opens ten years later.
//!
//! `report.html` is one file: markup, style, script and data, no network, no build step. It says first,
//! in a sentence, whether the cluster kept its promises; then shows how one can see it. `report.json`
//! beside it holds the findings and the numbers. Rust aggregates ([`figures`] to [`coverage`]), the
//! script in `assets/` draws; the data is embedded as JSON. A run of a million operations must open as
//! fast as one of a thousand, so what is drawn one by one (dots, points, changes of the weather) is
//! thinned, and the page says so where it was.
//!
//! | file | idea |
//! |---|---|
//! | [`words`] | numbers and answers as a reader wants them |
//! | [`figures`] | counts, percentiles, seconds that served |
//! | [`recovery`] | what each fault did to those who asked |
//! | [`mod@summary`] | the numbers of a run; another run's, to stand beside it |
//! | [`strip`] | nodes by time: roles, terms, positions, the weather |
//! | [`load`] | throughput and latency by time |
//! | [`lanes`] | the operations around a violation, client by client |
//! | [`watch_lanes`] | what watchers were told, by time |
//! | [`coverage`] | what happened during what, and what never did |
//! | [`verdict`] | the sentence, and the lines for a terminal |
//! | [`page`] | the files |
//! | [`mod@index`] | many runs: the matrix |

pub mod coverage;
pub mod figures;
pub mod index;
pub mod lanes;
pub mod load;
pub mod page;
pub mod recovery;
pub mod strip;
pub mod summary;
pub mod verdict;
pub mod watch_lanes;
pub mod words;

#[cfg(test)]
mod sample_run;
#[cfg(test)]
mod sample_violations;
#[cfg(test)]
mod tests;

pub use index::index;
pub use page::write;
pub use summary::{Summary, summary};
pub use verdict::{coverage_lines, verdict_lines};

/// Another run's numbers, shown beside this one's.
pub type Control = Summary;
