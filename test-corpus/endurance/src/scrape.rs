//! A daemon's metrics, read as Prometheus would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

const PATIENCE: Duration = Duration::from_secs(5);

/// One page of metrics.
#[derive(Debug)]
pub(crate) struct Page(String);

impl Page {
    /// Asks a daemon for its metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn of(address: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("while asking for metrics")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: canh\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("while reading metrics")?;
        Ok(Self(text))
    }

    /// Returns the sum of a metric over its labels, 0 if it is not there.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<u64>().ok()
        });
        values.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_summed_over_labels_and_other_names_are_others() {
        let page = Page("# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\na_b 7\n".to_owned());
        assert_eq!((page.sum("a"), page.sum("a_b"), page.sum("c")), (5, 7, 0));
    }
}
