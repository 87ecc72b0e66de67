//! One event, one line.

use super::writer::Queue;
use crate::env::Clock;
use std::fmt::{self, Write};
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Turns events into lines.
pub(super) struct JsonLines {
    clock: Arc<dyn Clock>,
    queue: Queue,
}

impl JsonLines {
    pub(super) fn new(clock: Arc<dyn Clock>, queue: Queue) -> Self {
        Self { clock, queue }
    }
}

/// A span's fields, written once: `,"node":"1"`.
struct SpanFields(String);

impl<S> Layer<S> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields.rest));
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(known) = span.extensions_mut().get_mut::<SpanFields>() {
            let mut fields = Fields::default();
            record.record(&mut fields);
            known.0.push_str(&fields.rest);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = String::with_capacity(192);
        line.push_str("{\"level\":\"");
        line.push_str(level(*metadata.level()));
        line.push_str("\",\"ts\":\"");
        push_time(&mut line, self.clock.unix_ms());
        line.push_str("\",\"caller\":");
        let file = metadata.file().unwrap_or("");
        let file = file.strip_prefix("src/").unwrap_or(file);
        push_string(
            &mut line,
            &format!("{file}:{}", metadata.line().unwrap_or(0)),
        );
        line.push_str(",\"msg\":");
        push_string(&mut line, &fields.message);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(known) = span.extensions().get::<SpanFields>() {
                line.push_str(&known.0);
            }
        }
        line.push_str(&fields.rest);
        line.push_str("}\n");
        self.queue.push(line);
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// The message apart, everything else as `,"name":value`.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn name(&mut self, field: &Field) {
        self.rest.push(',');
        push_string(&mut self.rest, field.name());
        self.rest.push(':');
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        append(&mut self.rest, format_args!("{value}"));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        self.name(field);
        push_string(&mut self.rest, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.record_str(field, &value.to_string());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn append(text: &mut String, arguments: fmt::Arguments<'_>) {
    // Writing to a String cannot fail; a Display that fails leaves what it wrote.
    text.write_fmt(arguments).unwrap_or_default();
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => append(text, format_args!("\\u{:04x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
}

/// `2006-01-02T15:04:05.999Z`, always UTC.
fn push_time(text: &mut String, unix_ms: u64) {
    let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    append(
        text,
        format_args!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        ),
    );
}

/// The civil date of a day since 1970 (Howard Hinnant's `civil_from_days`, for days of our era):
/// years are counted from March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::threads::RealThreads;
    use crate::telemetry::writer;
    use std::io;
    use std::sync::Mutex;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn dates_are_civil() {
        let time = |unix_ms| {
            let mut text = String::new();
            push_time(&mut text, unix_ms);
            text
        };
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(1_709_251_200_000), "2024-03-01T00:00:00.000Z");
        assert_eq!(time(1_795_469_425_270), "2026-11-23T21:30:25.270Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    struct Fixed;

    impl Clock for Fixed {
        fn unix_ms(&self) -> u64 {
            1
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_in_etcds_shape() {
        let output = Shared::default();
        let (queue, guard) = writer::start(output.clone(), &RealThreads).unwrap();
        let subscriber =
            tracing_subscriber::registry().with(JsonLines::new(Arc::new(Fixed), queue));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("member", node = "8e9e05c52164694d");
            let _entered = span.enter();
            tracing::warn!(count = 3_u64, ratio = 0.5, on = true, "said \"so\"\n\u{1}");
        });
        drop(guard);
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(
            text.starts_with("{\"level\":\"warn\",\"ts\":\"1970-01-01T00:00:00.001Z\",\"caller\":")
        );
        assert_eq!(line["msg"], "said \"so\"\n\u{1}");
        assert_eq!(line["node"], "8e9e05c52164694d");
        assert_eq!(line["count"], 3);
        assert_eq!(line["ratio"], 0.5);
        assert_eq!(line["on"], true);
        assert!(
            line["caller"]
                .as_str()
                .unwrap()
                .starts_with("telemetry/json.rs:")
        );
    }
}
