//! The description of an outlet, searches for it, and the answer to an inlet.

use crate::clock::{monotonic_ns, wall_ns};

/// Version of the protocol, times 100.
const PROTOCOL: u32 = 110;
/// LSL's default session.
const SESSION_ID: &str = "default";
/// Kind of the stream, as recorders show it.
const TYPE: &str = "fMRI";

/// The description of an outlet.
pub(super) struct Info {
    fields: Vec<(&'static str, String)>,
}

impl Info {
    /// A description; `ports` are those for data (TCP) and service (UDP).
    pub(super) fn new(name: &str, ports: (u16, u16)) -> Self {
        let id = u64::from(std::process::id()) ^ wall_ns();
        let fields = vec![
            ("name", name.to_owned()),
            ("type", TYPE.to_owned()),
            ("channel_count", "2".to_owned()),
            ("channel_format", "float32".to_owned()),
            // The same after a restart, so that inlets recover.
            ("source_id", format!("corticast-{}", name.replace(' ', "-"))),
            ("nominal_srate", "0.0".to_owned()),
            ("version", "1.10".to_owned()),
            ("created_at", format!("{:.9}", monotonic_ns() as f64 / 1e9)),
            ("uid", format!("00000000-0000-4000-8000-{:012x}", id & 0xffff_ffff_ffff)),
            ("session_id", SESSION_ID.to_owned()),
            ("hostname", "corticast".to_owned()),
            ("v4address", String::new()),
            ("v4data_port", ports.0.to_string()),
            ("v4service_port", ports.1.to_string()),
            ("v6address", String::new()),
            ("v6data_port", "0".to_owned()),
            ("v6service_port", "0".to_owned()),
        ];
        Self { fields }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn xml(&self, description: &str) -> String {
        let fields: String =
            self.fields.iter().map(|(key, value)| format!("<{key}>{value}</{key}>")).collect();
        format!("<?xml version=\"1.0\"?><info>{fields}<desc>{description}</desc></info>")
    }

    /// The answer to a search.
    pub(super) fn short(&self) -> String {
        self.xml("")
    }

    /// The description with names of the channels.
    pub(super) fn full(&self) -> String {
        let channels: String = ["value", "volume"]
            .map(|label| format!("<channel><label>{label}</label></channel>"))
            .concat();
        self.xml(&format!("<channels>{channels}</channels>"))
    }

    /// Whether a search finds this outlet: `key='value'` joined by `and`, as LSL's libraries ask. A
    /// search in another form finds nothing.
    pub(super) fn matches(&self, query: &str) -> bool {
        let query = query.trim();
        query.is_empty()
            || query.split(" and ").all(|term| {
                let Some((key, value)) = term.split_once('=') else { return false };
                let value = value.trim();
                let value = ['\'', '"'].into_iter().find_map(|quote| {
                    value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote))
                });
                value.is_some_and(|value| self.field(key.trim()) == Some(value))
            })
    }

    /// The answer to an inlet that asks for samples, or a refusal.
    pub(super) fn feed(
        &self,
        version: Option<u32>,
        uid: Option<&str>,
        headers: &str,
    ) -> Result<String, String> {
        let refused = |reason: &str| Err(format!("LSL/{PROTOCOL} {reason}\r\n\r\n"));
        let ours = self.field("uid").unwrap_or_default();
        if uid.is_some_and(|uid| uid != ours) {
            return refused("404 Not found");
        }
        let header = |name: &str| {
            headers.split("\r\n").find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        // We write little-endian float32 only; an inlet converts the order of bytes by itself.
        let is_old = version.is_none_or(|version| version < PROTOCOL);
        let is_other = header("Value-Size").is_some_and(|size| size != "4");
        if is_old || is_other || header("Has-IEEE754-Floats") == Some("0") {
            return refused("505 Version not supported");
        }
        Ok(format!(
            "LSL/{PROTOCOL} 200 OK\r\nUID: {ours}\r\nByte-Order: 1234\r\nSuppress-Subnormals: \
             0\r\nData-Protocol-Version: {PROTOCOL}\r\n\r\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_the_outlet_by_its_fields() {
        let info = Info::new("Corticast", (1, 2));
        assert!(info.matches(""));
        assert!(info.matches("session_id='default' and name='Corticast' and type=\"fMRI\""));
        for other in ["name='Cort'", "name=Corticast", "nothing='x'", "contains(name,'C')", "="] {
            assert!(!info.matches(other), "{other}");
        }
    }

    #[test]
    fn an_inlet_of_another_stream_or_an_old_one_is_refused() {
        let info = Info::new("Corticast", (1, 2));
        let uid = info.field("uid").unwrap();
        assert!(info.feed(Some(110), Some(uid), "Value-Size: 4\r\n").is_ok());
        assert!(info.feed(Some(110), Some("other"), "").unwrap_err().contains("404"));
        assert!(info.feed(Some(100), Some(uid), "").unwrap_err().contains("505"));
        assert!(info.feed(Some(110), Some(uid), "value-size: 8\r\n").unwrap_err().contains("505"));
    }
}
