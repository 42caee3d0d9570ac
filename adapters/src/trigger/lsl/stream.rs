//! The samples of a stream, over TCP.
//!
//! A request names the stream; the answer says in which order the bytes come. Then two samples that
//! test the format, and the samples: a tag, a time stamp if the tag says so, and the channels.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};

use super::resolve::Found;

/// How long a handshake may take.
const TALK: Duration = Duration::from_secs(3);
/// How long to wait for a sample before others are served.
const LOOK: Duration = Duration::from_millis(500);
/// A machine that is switched off is noticed after about this long.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Bytes of the answer's header.
const MAX_ANSWER: u64 = 8192;
/// Bytes of a text.
const MAX_TEXT: u64 = 64 << 10;
/// Samples that only test the format.
const TEST_SAMPLES: usize = 2;
/// Tags: the time stamp follows from the sample before, or comes with this one.
const DEDUCED: u8 = 1;
const STAMPED: u8 = 2;

/// How a channel is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
}

impl Format {
    /// A format by LSL's name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::Text,
            "float32" => Self::Float32,
            "double64" => Self::Float64,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Float32 => "float32",
            Self::Float64 => "double64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
        }
    }

    /// Bytes of a number; 0 for text.
    fn bytes(self) -> usize {
        match self {
            Self::Text => 0,
            Self::Int8 => 1,
            Self::Int16 => 2,
            Self::Float32 | Self::Int32 => 4,
            Self::Float64 | Self::Int64 => 8,
        }
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// By the sender's clock, in seconds.
    pub(super) stamp_s: Option<f64>,
    /// The first channel.
    pub(super) value: Value,
}

/// A value of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(f64),
}

impl Sample {
    /// Whether the first channel has this value: the same text, or the same number.
    pub(super) fn is(&self, wanted: &str) -> bool {
        match &self.value {
            Value::Text(text) => text == wanted,
            // As it was sent: numbers of markers are small integers.
            Value::Number(number) => {
                wanted.parse::<f64>().is_ok_and(|wanted| wanted.to_bits() == number.to_bits())
            }
        }
    }
}

/// A connected stream.
pub(super) struct Inlet(Samples<BufReader<TcpStream>>);

/// The samples of a stream of bytes.
pub(super) struct Samples<R> {
    stream: R,
    format: Format,
    n_channel: usize,
    is_little_endian: bool,
}

impl Inlet {
    /// Connects and asks for samples.
    pub(super) fn connect(found: &Found) -> io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&found.data, TALK)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TALK))?;
        socket.set_write_timeout(Some(TALK))?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        let request = format!(
            "LSL:streamfeed/110 {}\r\nNative-Byte-Order: 1234\r\nEndian-Performance: 0\r\n\
             Has-IEEE754-Floats: 1\r\nSupports-Subnormals: 1\r\nValue-Size: {}\r\n\
             Data-Protocol-Version: 110\r\nMax-Buffer-Length: 360\r\nMax-Chunk-Length: 0\r\n\
             Hostname: corticast\r\nSource-Id: \r\nSession-Id: default\r\n\r\n",
            found.uid,
            found.format.bytes(),
        );
        socket.write_all(request.as_bytes())?;
        Samples::begin(BufReader::new(socket), found.format, found.n_channel).map(Self)
    }

    /// The next sample; `None` when none came for a moment.
    ///
    /// # Errors
    ///
    /// Fails when the stream is gone or its bytes are no samples.
    pub(super) fn next(&mut self) -> io::Result<Option<Sample>> {
        let stream = &mut self.0.stream;
        stream.get_ref().set_read_timeout(Some(LOOK))?;
        match stream.fill_buf() {
            Ok([]) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed")),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => return Ok(None),
                _ => return Err(error),
            },
        }
        stream.get_ref().set_read_timeout(Some(TALK))?;
        self.0.sample().map(Some)
    }
}

impl<R: io::BufRead> Samples<R> {
    /// Reads the answer to a request, and the samples that only test the format.
    pub(super) fn begin(mut stream: R, format: Format, n_channel: usize) -> io::Result<Self> {
        let is_little_endian = answer(&mut stream)?;
        let mut samples = Self { stream, format, n_channel, is_little_endian };
        for _ in 0..TEST_SAMPLES {
            samples.sample()?;
        }
        Ok(samples)
    }

    /// The next sample.
    ///
    /// # Errors
    ///
    /// Fails when the stream ends or its bytes are no sample.
    pub(super) fn sample(&mut self) -> io::Result<Sample> {
        let [tag] = self.bytes()?;
        let stamp_s = match tag {
            DEDUCED => None,
            STAMPED => Some(f64::from_le_bytes(self.number()?)),
            tag => return Err(invalid(format!("found the tag {tag}, expected 1 or 2"))),
        };
        let value = self.value()?;
        for _ in 1..self.n_channel {
            self.value()?;
        }
        Ok(Sample { stamp_s, value })
    }

    fn value(&mut self) -> io::Result<Value> {
        Ok(Value::Number(match self.format {
            Format::Text => return self.text().map(Value::Text),
            Format::Float32 => f32::from_le_bytes(self.number()?).into(),
            Format::Float64 => f64::from_le_bytes(self.number()?),
            Format::Int8 => i8::from_le_bytes(self.number()?).into(),
            Format::Int16 => i16::from_le_bytes(self.number()?).into(),
            Format::Int32 => i32::from_le_bytes(self.number()?).into(),
            Format::Int64 => i64::from_le_bytes(self.number()?) as f64,
        }))
    }

    /// A text: the number of bytes of its length, its length, its bytes.
    fn text(&mut self) -> io::Result<String> {
        let [size] = self.bytes()?;
        let length = match size {
            1 => u8::from_le_bytes(self.number()?).into(),
            2 => u16::from_le_bytes(self.number()?).into(),
            4 => u32::from_le_bytes(self.number()?).into(),
            8 => u64::from_le_bytes(self.number()?),
            size => {
                return Err(invalid(format!("found a length of {size} bytes, expected 1 to 8")));
            }
        };
        if length > MAX_TEXT {
            return Err(invalid(format!("found a text of {length} bytes, expected {MAX_TEXT}")));
        }
        let mut text = vec![0; length as usize];
        self.stream.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Bytes of a number, little-endian.
    fn number<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = self.bytes()?;
        if !self.is_little_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads the answer to a request. Returns whether numbers are little-endian.
fn answer(stream: &mut impl io::BufRead) -> io::Result<bool> {
    let mut limited = stream.take(MAX_ANSWER);
    let mut line = || {
        let mut line = String::new();
        let n = limited.read_line(&mut line)?;
        if n == 0 {
            return Err(invalid("found no end of the answer".to_owned()));
        }
        Ok(line.trim().to_owned())
    };
    let first = line()?;
    if first.split_whitespace().nth(1) != Some("200") {
        let shown: String = first.chars().take(80).collect();
        return Err(invalid(format!("found the answer {shown:?}, expected LSL/110 200 OK")));
    }
    let (mut is_little_endian, mut version) = (true, String::new());
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim().to_ascii_lowercase().as_str() {
            "byte-order" => is_little_endian = value.trim() != "4321",
            "data-protocol-version" => version = value.trim().to_owned(),
            _ => {}
        }
    }
    if version != "110" {
        return Err(invalid(format!(
            "found version {version:?} of LSL's protocol, expected 110: liblsl 1.10 or later"
        )));
    }
    Ok(is_little_endian)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const HEADER: &str = "LSL/110 200 OK\r\nUID: x\r\nByte-Order: ORDER\r\nSuppress-Subnormals: \
                          0\r\nData-Protocol-Version: 110\r\n\r\n";

    fn inlet(format: Format, bytes: Vec<u8>) -> io::Result<Inlet> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let data = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            assert!(peer.read(&mut request).unwrap() > 0);
            peer.write_all(&bytes).ok();
        });
        Inlet::connect(&Found { data, service: data, uid: "x".into(), format, n_channel: 1 })
    }

    fn text(text: &str) -> Vec<u8> {
        let stamp = 2.5_f64.to_le_bytes();
        [&[STAMPED][..], &stamp, &[1, text.len() as u8], text.as_bytes()].concat()
    }

    #[test]
    fn markers_are_read_after_two_that_test_the_format() {
        let header = HEADER.replace("ORDER", "1234").into_bytes();
        let bytes = [header, text("10"), text("-11"), text("5"), text("stop")].concat();
        let mut inlet = inlet(Format::Text, bytes).unwrap();
        let sample = inlet.next().unwrap().unwrap();
        assert!(sample.is("5") && !sample.is("stop") && sample.stamp_s == Some(2.5));
        assert!(inlet.next().unwrap().unwrap().is("stop"));
        assert_eq!(inlet.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn numbers_are_read_in_either_order_of_bytes() {
        let sample = |value: i16| [&[DEDUCED][..], &value.to_be_bytes()].concat();
        let header = HEADER.replace("ORDER", "4321").into_bytes();
        let bytes = [header, sample(4), sample(-5), sample(300)].concat();
        let mut inlet = inlet(Format::Int16, bytes).unwrap();
        let sample = inlet.next().unwrap().unwrap();
        assert!(sample.is("300") && !sample.is("44") && sample.stamp_s.is_none());
    }

    #[test]
    fn garbage_is_refused_before_memory_is_taken_for_it() {
        let header = HEADER.replace("ORDER", "1234").into_bytes();
        let huge = [&[DEDUCED, 8][..], &u64::MAX.to_le_bytes()].concat();
        let refused = [
            b"HTTP/1.1 404 Not found\r\n\r\n".to_vec(),
            b"\xff\xfe\r\n".to_vec(),
            vec![b'x'; 20_000],
            HEADER.replace("110\r\n\r\n", "100\r\n\r\n").into_bytes(),
            [header.clone(), huge].concat(),
            [header.clone(), vec![9; 64]].concat(),
            [header, vec![DEDUCED, 3, 0, 0, 0]].concat(),
        ];
        for bytes in refused {
            assert!(inlet(Format::Text, bytes.clone()).is_err(), "{bytes:?}");
        }
    }
}
