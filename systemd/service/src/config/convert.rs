//! One TOML value against one kind: the checked value, or what is wrong with it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::de::{DeInteger, DeValue};

use crate::config::key::Kind;
use crate::config::quantity;
use crate::config::settings::Value;

const MAX_TEXT_BYTES: usize = 1_024;
const MAX_LABEL_BYTES: usize = 63;

/// What is wrong with a value.
pub(crate) enum Refusal {
    /// It is of another type.
    Type,
    /// It is of the right type, and out of range or malformed.
    Value,
    /// It names something that cannot be read.
    Missing { wanted: &'static str, path: PathBuf, source: io::Error },
    /// It names a secret that others can read.
    Exposed { path: PathBuf, mode: u32 },
}

/// Returns the checked value of a scalar. Lists and tables are taken apart by the caller.
pub(crate) fn scalar(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Refusal> {
    match kind {
        Kind::Bool => value.as_bool().map(Value::Bool).ok_or(Refusal::Type),
        Kind::Integer { min, max } => {
            let number = integer(value.as_integer().ok_or(Refusal::Type)?).ok_or(Refusal::Value)?;
            if (*min..=*max).contains(&number) { Ok(Value::Integer(number)) } else { Err(Refusal::Value) }
        }
        Kind::List(_) | Kind::Tables(_) => Err(Refusal::Type),
        _ => text(kind, value.as_str().ok_or(Refusal::Type)?),
    }
}

/// Returns what a value is, in words, bounded and escaped.
pub(crate) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let shown: String = text.chars().take(80).collect();
            format!("the text {shown:?}")
        }
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => format!("{truth}"),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn text(kind: &Kind, text: &str) -> Result<Value, Refusal> {
    let as_text = |is_good: bool| if is_good { Ok(Value::Text(text.to_owned())) } else { Err(Refusal::Value) };
    match kind {
        Kind::Text => as_text(is_text(text)),
        Kind::Label => as_text(is_label(text)),
        Kind::Choice(words) => as_text(words.contains(&text)),
        Kind::Endpoint => as_text(is_endpoint(text)),
        Kind::Address => text.parse::<SocketAddr>().map(Value::Address).map_err(|_| Refusal::Value),
        Kind::Duration { min, max } => match quantity::parse_duration(text) {
            Some(duration) if (*min..=*max).contains(&duration) => Ok(Value::Duration(duration)),
            _ => Err(Refusal::Value),
        },
        Kind::Bytes { min, max } => match quantity::parse_bytes(text) {
            Some(bytes) if (*min..=*max).contains(&bytes) => Ok(Value::Bytes(bytes)),
            _ => Err(Refusal::Value),
        },
        Kind::Path | Kind::ExistingFile | Kind::SecretFile | Kind::ExistingDir => path(kind, text),
        Kind::Bool | Kind::Integer { .. } | Kind::List(_) | Kind::Tables(_) => Err(Refusal::Type),
    }
}

fn path(kind: &Kind, text: &str) -> Result<Value, Refusal> {
    let path = Path::new(text);
    if !is_text(text) || !path.is_absolute() {
        return Err(Refusal::Value);
    }
    let missing = |wanted, source| Refusal::Missing { wanted, path: path.to_owned(), source };
    if *kind == Kind::ExistingDir {
        fs::read_dir(path).map_err(|source| missing("directory", source))?;
    }
    if matches!(kind, Kind::ExistingFile | Kind::SecretFile) {
        // A directory opens as well as a file does, so both are asked. The metadata come first:
        // opening a named pipe would wait for its writer.
        let metadata = fs::metadata(path).map_err(|source| missing("file", source))?;
        if !metadata.is_file() {
            return Err(missing("file", io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
        }
        fs::File::open(path).map_err(|source| missing("file", source))?;
        let mode = metadata.permissions().mode() & 0o777;
        if *kind == Kind::SecretFile && mode & 0o007 != 0 {
            return Err(Refusal::Exposed { path: path.to_owned(), mode });
        }
    }
    Ok(Value::Path(path.to_owned()))
}

fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= MAX_LABEL_BYTES && starts_well && text.bytes().all(allowed)
}

/// A host name, an IPv4 address or a bracketed IPv6 address, and a port other than 0.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_name = |host: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (1..=253).contains(&host.len()) && host.bytes().all(allowed)
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    is_port && inner.map_or_else(|| is_name(host), |address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_host_and_a_port() {
        for text in ["collector:6514", "10.0.0.7:1", "[::1]:6514", "thu-thap.tinh.gov.vn:443"] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in
            ["", ":1", "collector", "collector:0", "collector:70000", "collector:+1", "::1:6514", "[x]:1", "a b:1"]
        {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
