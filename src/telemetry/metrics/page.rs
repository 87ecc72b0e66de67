//! Prometheus' text format, version 0.0.4.

use super::Durations;
use std::fmt::{self, Display, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page in the making. All samples of a name follow its [`Page::family`], as the format wants it.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// What an answer says of the page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins the samples of a name. `help` is one line.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.append(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        self.labels(labels, None);
        self.append(format_args!(" {value}\n"));
    }

    /// A family of one sample without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// A family of one sample without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }

    /// A family of one histogram without labels.
    pub fn histogram(&mut self, name: &str, help: &str, durations: &Durations) {
        self.family(name, Kind::Histogram, help);
        self.durations(name, &[], durations);
    }

    /// The samples of one histogram.
    pub fn durations(&mut self, name: &str, labels: &[(&str, &str)], durations: &Durations) {
        let buckets = durations.cumulative();
        let count = buckets.last().map_or(0, |(_, count)| *count);
        for (bound, count) in buckets {
            self.append(format_args!("{name}_bucket"));
            self.labels(labels, Some(bound));
            self.append(format_args!(" {count}\n"));
        }
        self.append(format_args!("{name}_sum"));
        self.labels(labels, None);
        self.append(format_args!(" {}\n{name}_count", durations.sum()));
        self.labels(labels, None);
        self.append(format_args!(" {count}\n"));
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<f64>) {
        if labels.is_empty() && bound.is_none() {
            return;
        }
        let mut opening = '{';
        for (name, value) in labels {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            let value = value.replace('\n', "\\n");
            self.append(format_args!("{opening}{name}=\"{value}\""));
            opening = ',';
        }
        match bound {
            Some(f64::INFINITY) => self.append(format_args!("{opening}le=\"+Inf\"")),
            Some(bound) => self.append(format_args!("{opening}le=\"{bound}\"")),
            None => {}
        }
        self.text.push('}');
    }

    fn append(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.text.write_fmt(arguments).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Buckets, Counter};
    use std::time::Duration;

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let (counter, durations) = (
            Counter::new(),
            Durations::new(Buckets::Doubling {
                micros: 100,
                count: 2,
            }),
        );
        counter.add(3);
        durations.observe(Duration::from_micros(150));
        durations.observe(Duration::from_millis(350));
        let mut page = Page::default();
        page.counter("a_total", "Things.", &counter);
        page.gauge("b", "A level.", 1.5);
        page.family("c_seconds", Kind::Histogram, "Times.");
        page.durations("c_seconds", &[("to", "x\"y\\z\n")], &durations);
        page.histogram("d_seconds", "Times.", &durations);
        let expected = r#"# HELP a_total Things.
# TYPE a_total counter
a_total 3
# HELP b A level.
# TYPE b gauge
b 1.5
# HELP c_seconds Times.
# TYPE c_seconds histogram
c_seconds_bucket{to="x\"y\\z\n",le="0.0001"} 0
c_seconds_bucket{to="x\"y\\z\n",le="0.0002"} 1
c_seconds_bucket{to="x\"y\\z\n",le="+Inf"} 2
c_seconds_sum{to="x\"y\\z\n"} 0.35015
c_seconds_count{to="x\"y\\z\n"} 2
# HELP d_seconds Times.
# TYPE d_seconds histogram
d_seconds_bucket{le="0.0001"} 0
d_seconds_bucket{le="0.0002"} 1
d_seconds_bucket{le="+Inf"} 2
d_seconds_sum 0.35015
d_seconds_count 2
"#;
        assert_eq!(page.into_text(), expected);
    }
}
