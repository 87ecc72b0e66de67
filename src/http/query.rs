//! What stands behind the `?`, read as Go's `url.ParseQuery` reads it.

use percent_encoding::percent_decode_str;

/// Names and values in the order given; a name may come several times.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or("").split('&');
        Self(
            pairs
                // Go drops what holds a semicolon, and what is not well encoded.
                .filter(|pair| !pair.is_empty() && !pair.contains(';'))
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decoded(name)?, decoded(value)?))
                })
                .collect(),
        )
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Whether the first value under this name is `true`, in these letters.
    pub(super) fn is_true(&self, name: &str) -> bool {
        let first = self.0.iter().find(|(known, _)| known == name);
        first.is_some_and(|(_, value)| value == "true")
    }

    /// Whether this value stands somewhere under this name.
    pub(super) fn holds(&self, name: &str, value: &str) -> bool {
        self.0
            .iter()
            .any(|(known, given)| known == name && given == value)
    }
}

fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_come_again_and_values_may_be_coded() {
        let query = Query::of(Some(
            "exclude=NOSPACE&exclude=%43ORRUPT&serializable=true&verbose",
        ));
        assert!(query.holds("exclude", "NOSPACE"));
        assert!(query.holds("exclude", "CORRUPT"));
        assert!(!query.holds("exclude", "verbose"));
        assert!(query.is_true("serializable"));
        assert!(query.has("verbose"));
        assert!(!query.is_true("verbose"));
        assert!(!Query::of(Some("serializable=false&serializable=true")).is_true("serializable"));
        assert!(!Query::of(Some("serializable=True")).is_true("serializable"));
        assert!(!Query::of(None).has(""));
    }
}
