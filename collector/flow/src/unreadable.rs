//! Why a captured frame gives no packet to a flow: the reasons, and how often each was met.

/// A frame that could not be counted to a flow, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreadable {
    /// The link's header carries something other than IP: ARP, LLDP, spanning tree.
    NotIp,
    /// The frame ends within the link's header.
    TruncatedLink,
    /// The frame ends within the IP header.
    TruncatedIp,
    /// What should be an IP header is none.
    MalformedIp,
}

/// How many frames could not be read, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadableCounts([u64; Unreadable::ALL.len()]);

impl Unreadable {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotIp, Self::TruncatedLink, Self::TruncatedIp, Self::MalformedIp];

    /// Returns the word for the reason, as metrics label it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::TruncatedLink => "truncated_link",
            Self::TruncatedIp => "truncated_ip",
            Self::MalformedIp => "malformed_ip",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::NotIp => 0,
            Self::TruncatedLink => 1,
            Self::TruncatedIp => 2,
            Self::MalformedIp => 3,
        }
    }
}

impl UnreadableCounts {
    /// Returns how many frames had this reason.
    pub fn get(&self, reason: Unreadable) -> u64 {
        self.0.get(reason.index()).copied().unwrap_or_default()
    }

    /// Returns how many frames there were of all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: Unreadable) {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_by_itself() {
        let mut counts = UnreadableCounts::default();
        for (index, reason) in Unreadable::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            (0..=index).for_each(|_| counts.add(reason));
        }
        let seen: Vec<u64> = Unreadable::ALL.into_iter().map(|reason| counts.get(reason)).collect();
        assert_eq!((seen, counts.total()), (vec![1, 2, 3, 4], 10));
    }
}
