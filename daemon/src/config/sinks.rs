//! The `[sinks]` section: outputs that speak the protocols of other programs.
//!
//! None of these protocols has keys, so every address must be on the loopback, unless the sink is
//! marked `insecure`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Deref,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// The sinks, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct SinksConfig(Written);

/// The written form of the section; within a [`SinksConfig`] its addresses are permitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// AFNI's `realtime_receiver.py`, which listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub afni: Option<ConnectSink>,
    /// Clients of MURFI's InfoServer, which connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub murfi: Option<ListenSink>,
    /// Clients of pyneal's results server, which connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pyneal: Option<ListenSink>,
    /// A program that takes OpenNFT's UDP packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opennft: Option<SendSink>,
    /// A program that takes RTPSpy's text, which listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtpspy: Option<ConnectSink>,
    /// Lab Streaming Layer: an outlet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsl: Option<LslSink>,
    /// rt-cloud's result files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtcloud: Option<FolderSink>,
}

/// A sink that connects to its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectSink {
    /// Address of the peer.
    pub connect: SocketAddr,
    /// What is sent.
    #[serde(default)]
    pub value: ValueChoice,
    /// Permits an address that other machines can reach.
    #[serde(default)]
    pub insecure: bool,
}

/// A sink that answers clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSink {
    /// Where it listens. Port 0: chosen by the system.
    pub listen: SocketAddr,
    /// What is sent.
    #[serde(default)]
    pub value: ValueChoice,
    /// Permits an address that other machines can reach.
    #[serde(default)]
    pub insecure: bool,
}

/// A sink that sends packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendSink {
    /// Address of the peer.
    pub send: SocketAddr,
    /// What is sent.
    #[serde(default)]
    pub value: ValueChoice,
    /// Permits an address that other machines can reach.
    #[serde(default)]
    pub insecure: bool,
}

/// An LSL outlet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LslSink {
    /// Name of the stream.
    pub name: String,
    /// Address of the network to serve; the ports are chosen by the system.
    #[serde(default = "loopback")]
    pub listen: IpAddr,
    /// What is sent.
    #[serde(default)]
    pub value: ValueChoice,
    /// Permits an address that other machines can reach.
    #[serde(default)]
    pub insecure: bool,
}

/// A sink that writes files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSink {
    /// The folder; created if it does not exist.
    pub folder: PathBuf,
    /// What is written.
    #[serde(default)]
    pub value: ValueChoice,
}

fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

/// Which number of the session a sink sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ValueChoice {
    /// The feedback score as it is shown, 0 to 1.
    #[default]
    Feedback,
    /// The probability of a concept, 0 to 1.
    Concept(String),
    /// DVARS of each volume.
    Dvars,
    /// Framewise displacement of each volume, in mm.
    Fd,
}

impl TryFrom<String> for ValueChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "feedback" => Ok(Self::Feedback),
            "dvars" => Ok(Self::Dvars),
            "fd" => Ok(Self::Fd),
            other => match other.strip_prefix("concept:") {
                Some(name) if !name.is_empty() => Ok(Self::Concept(name.to_owned())),
                _ => Err(format!(
                    "`value` is \"{text}\", expected \"feedback\", \"concept:NAME\", \"dvars\" or \
                     \"fd\""
                )),
            },
        }
    }
}

impl From<ValueChoice> for String {
    fn from(choice: ValueChoice) -> Self {
        match choice {
            ValueChoice::Feedback => "feedback".to_owned(),
            ValueChoice::Concept(name) => format!("concept:{name}"),
            ValueChoice::Dvars => "dvars".to_owned(),
            ValueChoice::Fd => "fd".to_owned(),
        }
    }
}

impl Written {
    /// What each configured sink sends, with the name of its table.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &ValueChoice)> {
        [
            ("afni", self.afni.as_ref().map(|sink| &sink.value)),
            ("murfi", self.murfi.as_ref().map(|sink| &sink.value)),
            ("pyneal", self.pyneal.as_ref().map(|sink| &sink.value)),
            ("opennft", self.opennft.as_ref().map(|sink| &sink.value)),
            ("rtpspy", self.rtpspy.as_ref().map(|sink| &sink.value)),
            ("lsl", self.lsl.as_ref().map(|sink| &sink.value)),
            ("rtcloud", self.rtcloud.as_ref().map(|sink| &sink.value)),
        ]
        .into_iter()
        .filter_map(|(table, value)| Some((table, value?)))
    }

    /// The addresses that the daemon sends to, with their keys.
    fn peers(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        [
            ("afni.connect", self.afni.as_ref().map(|sink| sink.connect)),
            ("rtpspy.connect", self.rtpspy.as_ref().map(|sink| sink.connect)),
            ("opennft.send", self.opennft.as_ref().map(|sink| sink.send)),
        ]
        .into_iter()
        .filter_map(|(key, address)| Some((key, address?)))
    }

    /// The address of each configured sink with its key, and whether it is marked `insecure`.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, IpAddr, bool)> {
        let connect = |key, sink: &Option<ConnectSink>| {
            sink.as_ref().map(|sink| (key, sink.connect.ip(), sink.insecure))
        };
        let listen = |key, sink: &Option<ListenSink>| {
            sink.as_ref().map(|sink| (key, sink.listen.ip(), sink.insecure))
        };
        [
            connect("afni.connect", &self.afni),
            connect("rtpspy.connect", &self.rtpspy),
            listen("murfi.listen", &self.murfi),
            listen("pyneal.listen", &self.pyneal),
            self.opennft.as_ref().map(|sink| ("opennft.send", sink.send.ip(), sink.insecure)),
            self.lsl.as_ref().map(|sink| ("lsl.listen", sink.listen, sink.insecure)),
        ]
        .into_iter()
        .flatten()
    }
}

impl SinksConfig {
    /// The keys of sinks that other machines can reach.
    pub fn exposed(&self) -> impl Iterator<Item = &'static str> {
        self.addresses().filter(|(_, ip, _)| !ip.is_loopback()).map(|(key, ..)| key)
    }
}

impl Deref for SinksConfig {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.0
    }
}

impl TryFrom<Written> for SinksConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        for (key, ip, is_insecure) in written.addresses() {
            if !ip.is_loopback() && !is_insecure {
                return Err(format!(
                    "`{key}` in [sinks] is {ip}, which is not on this machine, and this protocol \
                     has no keys; expected a loopback address such as 127.0.0.1, or `insecure = \
                     true` if everybody on that network may read and forge these values"
                ));
            }
        }
        for (key, address) in written.peers() {
            if address.port() == 0 {
                return Err(format!(
                    "`{key}` in [sinks] is {address}, expected the port on which the program \
                     listens, 1 to 65535"
                ));
            }
        }
        if let Some(lsl) = &written.lsl {
            let is_fine = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
            if !(1..=64).contains(&lsl.name.len()) || !lsl.name.chars().all(is_fine) {
                return Err(format!(
                    "`name` in [sinks.lsl] is {:?}, expected 1 to 64 letters, digits, spaces, `_`, \
                     `-` and `.`",
                    lsl.name
                ));
            }
            if lsl.listen.is_ipv6() {
                return Err(format!("`listen` in [sinks.lsl] is {}, expected IPv4", lsl.listen));
            }
        }
        Ok(Self(written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SinksConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_sink_stays_on_this_machine_unless_it_is_marked_insecure() {
        assert!(read("[afni]\nconnect = \"127.0.0.1:53214\"\n").is_ok());
        let wide = "[murfi]\nlisten = \"0.0.0.0:15001\"\n";
        let message = read(wide).unwrap_err();
        assert!(message.contains("murfi.listen") && message.contains("0.0.0.0"), "{message}");
        let sinks = read(&format!("{wide}insecure = true\n")).unwrap();
        assert_eq!(sinks.exposed().collect::<Vec<_>>(), ["murfi.listen"]);
    }

    #[test]
    fn an_unknown_key_or_value_is_refused() {
        let message = read("[rtpspy]\nconnect = \"127.0.0.1:1\"\nvalues = 3\n").unwrap_err();
        assert!(message.contains("values") && message.contains("insecure"), "{message}");
        let message =
            read("[rtpspy]\nconnect = \"127.0.0.1:1\"\nvalue = \"concept:\"\n").unwrap_err();
        assert!(message.contains("concept:NAME"), "{message}");
        assert!(read("[lsl]\nname = \"a'b\"\n").is_err());
    }

    #[test]
    fn a_program_that_listens_has_a_port() {
        for (table, key) in [("afni", "connect"), ("rtpspy", "connect"), ("opennft", "send")] {
            let at = |port: u16| read(&format!("[{table}]\n{key} = \"127.0.0.1:{port}\"\n"));
            let message = at(0).unwrap_err();
            assert!(message.contains(&format!("`{table}.{key}` in [sinks]")), "{message}");
            assert!(at(1).is_ok());
        }
        assert!(read("[murfi]\nlisten = \"127.0.0.1:0\"\n").is_ok(), "the system chooses");
    }
}
