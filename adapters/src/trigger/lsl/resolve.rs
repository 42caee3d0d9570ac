//! The search for a stream by its name: a question by UDP to every outlet that can be reached, and
//! the descriptions that come back.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::stream::Format;

/// Port that all outlets share.
const PORT: u16 = 16571;
/// Ports of single outlets, on this machine.
const OWN_PORTS: std::ops::RangeInclusive<u16> = 16572..=16604;
/// Where to ask, as in liblsl's `api_config.cpp`: this machine, this network, this site.
const GROUPS: [Ipv4Addr; 4] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::BROADCAST,
    Ipv4Addr::new(224, 0, 0, 183),
    Ipv4Addr::new(239, 255, 172, 215),
];
/// Bytes of an answer.
const MAX_ANSWER: usize = 65_536;
/// Channels of a stream of markers.
const MAX_CHANNELS: usize = 64;

/// A stream that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Where its samples come from, by TCP.
    pub(super) data: SocketAddr,
    /// Where its clock is read, by UDP.
    pub(super) service: SocketAddr,
    pub(super) uid: String,
    pub(super) format: Format,
    pub(super) n_channel: usize,
}

/// A socket that asks and gets the answers.
pub(super) fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    Ok(socket)
}

/// Asks for a stream and waits for answers for `time`.
pub(super) fn search(socket: &UdpSocket, name: &str, time: Duration) -> Option<Found> {
    let port = socket.local_addr().ok()?.port();
    // Answers to an earlier question have the same number: they are as good.
    let id = u64::from(port);
    let question =
        format!("LSL:shortinfo\r\nsession_id='default' and name='{name}'\r\n{port} {id}\r\n");
    let to_all = GROUPS.into_iter().map(|group| (group, PORT));
    let to_own = OWN_PORTS.map(|port| (Ipv4Addr::LOCALHOST, port));
    for to in to_all.chain(to_own) {
        // Networks without broadcast or multicast are usual.
        socket.send_to(question.as_bytes(), to).ok();
    }
    let end = Instant::now() + time;
    let mut answer = vec![0; MAX_ANSWER];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return None;
        }
        // An error tells of an earlier question that nobody took.
        let Ok((n, from)) = socket.recv_from(&mut answer) else { continue };
        match description(&answer[..n], id, from.ip(), name) {
            Ok(found) => return Some(found),
            Err(reason) => {
                tracing::debug!(%from, reason, "an answer to an LSL search is of no use")
            }
        }
    }
}

/// Reads an answer: the number of the question, then the description.
pub(super) fn description(
    answer: &[u8],
    id: u64,
    from: IpAddr,
    name: &str,
) -> Result<Found, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "found no text")?;
    let (number, xml) = text.split_once("\r\n").ok_or("found no number of the question")?;
    if number.trim().parse() != Ok(id) {
        return Err("found the answer to another question".to_owned());
    }
    let xml = roxmltree::Document::parse(xml).map_err(|error| error.to_string())?;
    let field = |key: &str| {
        let fields = xml.root_element().children();
        let text = fields.filter(|node| node.has_tag_name(key)).find_map(|node| node.text());
        text.map(str::trim).ok_or(format!("found no {key}"))
    };
    let port = |key: &str| {
        let port = field(key)?.parse::<u16>().ok().filter(|port| *port > 0);
        port.map(|port| SocketAddr::new(from, port)).ok_or(format!("found no port in {key}"))
    };
    if field("name")? != name {
        return Err("found another name".to_owned());
    }
    let n_channel = field("channel_count")?.parse().ok();
    let n_channel = n_channel.filter(|n| (1..=MAX_CHANNELS).contains(n));
    let uid = field("uid")?;
    if uid.len() > 64 || uid.contains(char::is_whitespace) {
        return Err("found no uid".to_owned());
    }
    Ok(Found {
        data: port("v4data_port")?,
        service: port("v4service_port")?,
        uid: uid.to_owned(),
        format: Format::named(field("channel_format")?).ok_or("found an unknown format")?,
        n_channel: n_channel.ok_or(format!("found no channel_count of 1 to {MAX_CHANNELS}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, format: &str, port: &str) -> String {
        format!(
            "7\r\n<?xml version=\"1.0\"?><info><name>{name}</name><channel_count>1</channel_count>\
             <channel_format>{format}</channel_format><uid>abc-1</uid>\
             <v4data_port>{port}</v4data_port><v4service_port>16573</v4service_port></info>"
        )
    }

    #[test]
    fn a_description_names_ports_and_format_and_garbage_is_refused() {
        let from = IpAddr::from([10, 0, 0, 9]);
        let read = |text: &str| description(text.as_bytes(), 7, from, "Markers");
        let found = read(&info("Markers", "string", "16572")).unwrap();
        assert_eq!(found.data, SocketAddr::from(([10, 0, 0, 9], 16572)));
        assert_eq!((found.format, found.n_channel), (Format::Text, 1));
        for garbage in [
            "",
            "7\r\n",
            "7\r\n<info/>",
            "8\r\n<info/>",
            &info("Other", "string", "16572"),
            &info("Markers", "complex", "16572"),
            &info("Markers", "string", "0"),
            &info("Markers", "string", "99999"),
            &info("Markers", "string", "16572").replace(">1<", ">999999999<"),
        ] {
            read(garbage).unwrap_err();
        }
        description(b"\xff\xfe", 7, from, "Markers").unwrap_err();
    }
}
