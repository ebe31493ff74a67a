//! The logsource of a line: which services and categories its program stands for.
//!
//! Comes in: a family of parsers and a program's name. Goes out: a logsource, made once and kept;
//! at most 128 are kept, since names of programs are text of strangers.

use canh_event::Logsource;

const MAX_KEPT: usize = 128;
const MAX_NAME_BYTES: usize = 63;

/// Which parser claimed a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Sshd,
    Sudo,
    Su,
    Pam,
    Account,
    Cron,
    /// Any other line of syslog.
    Syslog,
    /// A web server's access line that came through syslog.
    WebOverSyslog,
    /// A web server's access line from its own file.
    Web,
}

/// Logsources made so far.
#[derive(Debug, Default)]
pub(crate) struct Logsources {
    kept: Vec<Kept>,
    unknown: Logsource,
}

#[derive(Debug)]
struct Kept {
    family: Family,
    program: Box<str>,
    logsource: Logsource,
}

impl Family {
    /// Returns the name the parser is counted under.
    pub(crate) const fn format(self) -> &'static str {
        match self {
            Self::Sshd => "sshd",
            Self::Sudo => "sudo",
            Self::Su => "su",
            Self::Pam => "pam",
            Self::Account => "account",
            Self::Cron => "cron",
            Self::Syslog => "syslog",
            Self::WebOverSyslog | Self::Web => "access",
        }
    }

    const fn product(self) -> &'static str {
        match self {
            Self::Web | Self::WebOverSyslog => "",
            _ => "linux",
        }
    }

    const fn services(self) -> &'static [&'static str] {
        match self {
            Self::Sshd => &["sshd", "auth", "syslog"],
            Self::Sudo => &["sudo", "auth", "syslog"],
            Self::Su => &["su", "auth", "syslog"],
            Self::Pam => &["pam", "auth", "syslog"],
            Self::Account => &["auth", "syslog"],
            Self::Cron => &["cron", "syslog"],
            Self::Syslog | Self::WebOverSyslog => &["syslog"],
            Self::Web => &[],
        }
    }

    const fn categories(self) -> &'static [&'static str] {
        match self {
            Self::Web | Self::WebOverSyslog => &["webserver"],
            _ => &[],
        }
    }
}

impl Logsources {
    /// Returns the logsource of a line of `program`, as its tag names it.
    pub(crate) fn of(&mut self, family: Family, program: &str) -> &Logsource {
        let same = |kept: &Kept| kept.family == family && *kept.program == *program;
        if let Some(index) = self.kept.iter().position(same) {
            return self.kept.get(index).map_or(&self.unknown, |kept| &kept.logsource);
        }
        if self.kept.len() >= MAX_KEPT {
            self.kept.clear();
        }
        self.kept.push(Kept { family, program: Box::from(program), logsource: make(family, program) });
        self.kept.last().map_or(&self.unknown, |kept| &kept.logsource)
    }
}

fn make(family: Family, program: &str) -> Logsource {
    let service = service_of(program);
    let mut services = family.services().to_vec();
    services.push(&service);
    // Names of the table are valid, and the service is made so.
    Logsource::new(family.product(), &services, family.categories()).unwrap_or_default()
}

/// Returns the service a program's name stands for: `/USR/SBIN/CRON` is `cron`, `postfix/smtpd` is
/// `postfix`; a name that Sigma could not write is none.
fn service_of(program: &str) -> String {
    let name = match program.strip_prefix('/') {
        Some(path) => path.rsplit('/').next().unwrap_or(path),
        None => program.split('/').next().unwrap_or(program),
    };
    let name = name.to_ascii_lowercase();
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() <= MAX_NAME_BYTES && name.bytes().all(is_allowed) { name } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(family: Family, program: &str) -> Vec<String> {
        Logsources::default().of(family, program).services().map(str::to_owned).collect()
    }

    #[test]
    fn program_is_a_service_if_sigma_could_name_it() {
        assert_eq!(services(Family::Sshd, "sshd-session"), ["auth", "sshd", "sshd-session", "syslog"]);
        assert_eq!(services(Family::Cron, "/USR/SBIN/CRON"), ["cron", "syslog"]);
        assert_eq!(services(Family::Syslog, "postfix/smtpd"), ["postfix", "syslog"]);
        assert_eq!(services(Family::Syslog, "Nhật ký"), ["syslog"]);
        assert_eq!(services(Family::Syslog, &"x".repeat(64)), ["syslog"]);
        assert_eq!(services(Family::Web, ""), Vec::<String>::new());
    }

    #[test]
    fn strangers_names_do_not_pile_up() {
        let mut logsources = Logsources::default();
        for number in 0..10 * MAX_KEPT {
            assert!(logsources.of(Family::Syslog, &format!("p{number}")).has_service(&format!("p{number}")));
        }
        assert!(logsources.kept.len() <= MAX_KEPT);
    }
}
