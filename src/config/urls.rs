//! What etcd accepts for a URL, and its words for what it does not.

use super::flags::ConfigError;

/// A URL, checked: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlainUrl {
    host: String,
    port: u16,
}

impl PlainUrl {
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn text(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// A comma-separated list, sorted as etcd sorts it.
pub(super) fn list(flag: &str, text: &str) -> Result<Vec<PlainUrl>, ConfigError> {
    let mut urls = text
        .split(',')
        .map(|url| parse(url.trim()).map_err(|reason| wrong(flag, text, &reason)))
        .collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    Ok(urls)
}

/// Like [`list`], for addresses to listen on: they must be this machine's, so no names.
pub(super) fn listen_list(flag: &str, text: &str) -> Result<Vec<PlainUrl>, ConfigError> {
    let urls = list(flag, text)?;
    for url in &urls {
        let bare = url.host.trim_start_matches('[').trim_end_matches(']');
        if bare != "localhost" && bare.parse::<std::net::IpAddr>().is_err() {
            let reason = format!("expected IP in URL for binding ({})", url.text());
            return Err(wrong(flag, text, &reason));
        }
    }
    Ok(urls)
}

fn wrong(flag: &str, text: &str, reason: &str) -> ConfigError {
    ConfigError::new(format!("invalid value {text:?} for --{flag}: {reason}"))
}

pub(super) fn parse(url: &str) -> Result<PlainUrl, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match scheme {
        "http" => {}
        "https" | "unix" | "unixs" => return Err(format!("{scheme} is not there yet: {url}")),
        _ => {
            return Err(format!(
                "URL scheme must be http, https, unix, or unixs: {url}"
            ));
        }
    }
    let no_address = || format!("URL address does not have the form \"host:port\": {url}");
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = authority.rsplit_once(':').ok_or_else(no_address)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if (host.contains(':') && !bracketed) || host.contains(['@', '?', '#', ' ']) {
        return Err(no_address());
    }
    let is_number = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let port = port
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or_else(no_address)?;
    if !path.is_empty() {
        return Err(format!("URL must not contain a path: {url}"));
    }
    // etcd listens on every address if the host is empty.
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    Ok(PlainUrl {
        host: host.to_owned(),
        port,
    })
}
