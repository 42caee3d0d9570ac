//! A protocol over TCP as a source: one sender after another.

use std::{io, sync::Arc, time::Instant};

use super::{
    Arrival, ListenOptions, Picture, Scan, Source,
    listen::Listener,
    stream::{Begins, Stream, StreamError},
};

/// What a message of a protocol means.
#[derive(Debug)]
pub enum Message {
    /// A volume.
    Volume(Arc<Scan>, Picture),
    /// The run is over.
    End,
    /// The sender is done, and the connection ends with the run.
    Goodbye,
    /// Nothing to pass on.
    Nothing,
}

/// How the bytes of one connection are read.
pub trait Protocol: Send {
    /// Name in the log.
    const NAME: &'static str;
    /// What a second sender gets before its connection is closed.
    const REFUSAL: &'static [u8] = &[];
    /// Whether a run ends with its connection.
    const RUN_IS_CONNECTION: bool = true;

    /// A new sender is connected.
    ///
    /// # Errors
    ///
    /// Fails when the connection is of no use.
    fn connected(&mut self, stream: &Stream) -> Result<(), StreamError>;

    /// Reads one message, whose first bytes have arrived.
    ///
    /// # Errors
    ///
    /// Fails when the connection cannot go on.
    fn read(&mut self, stream: &mut Stream) -> Result<Message, StreamError>;

    /// The connection is about to end because of this.
    fn failed(&mut self, _: &StreamError) {}
}

/// See the module docs.
#[derive(Debug)]
pub struct TcpSource<P> {
    protocol: P,
    listener: Listener,
    options: ListenOptions,
    stream: Option<Stream>,
    /// A sender that has not sent a message yet has until then.
    hello: Option<Instant>,
    /// The sender was silent, and may be replaced.
    is_idle: bool,
    /// The run ended with a connection that failed; not yet told.
    run_ended: bool,
}

impl<P: Protocol> TcpSource<P> {
    /// Listens on `port`.
    ///
    /// # Errors
    ///
    /// Fails when the port cannot be bound.
    pub fn bind(protocol: P, options: ListenOptions, port: u16) -> io::Result<Self> {
        let listener = Listener::start(P::NAME, &options, port, P::REFUSAL)?;
        Ok(Self {
            protocol,
            listener,
            options,
            stream: None,
            hello: None,
            is_idle: false,
            run_ended: false,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.listener.address
    }

    fn connect(&mut self, until: Option<Instant>) -> Option<Arrival> {
        let Some(socket) = self.listener.wait(until) else {
            return Some(if until.is_some() { Arrival::Quiet } else { Arrival::Over });
        };
        self.is_idle = false;
        self.hello = Some(Instant::now() + self.options.stall_s);
        let stream = Stream::new(socket, self.options.stall_s).map_err(StreamError::Io);
        match stream.and_then(|stream| self.protocol.connected(&stream).map(|()| stream)) {
            Ok(stream) => {
                tracing::debug!("{}: a sender is connected", P::NAME);
                self.stream = Some(stream);
                None
            }
            Err(error) => Some(self.lost(&error)),
        }
    }

    /// Ends the connection, because of an error or because the sender closed it.
    fn lost(&mut self, error: &StreamError) -> Arrival {
        self.protocol.failed(error);
        self.stream = None;
        self.listener.turn().free();
        match error {
            StreamError::Closed if P::RUN_IS_CONNECTION => Arrival::End,
            StreamError::Closed => Arrival::Quiet,
            error => {
                tracing::warn!(%error, "{}: connection ended", P::NAME);
                self.run_ended = P::RUN_IS_CONNECTION;
                Arrival::Refused
            }
        }
    }

    /// Waits for a message. `None` when one begins.
    fn wait(&mut self, until: Option<Instant>) -> Option<Arrival> {
        let stream = self.stream.as_mut()?;
        // A silent sender gives way, so its wait looks for a new one again and again.
        let (hello, soon) = (self.hello, Instant::now() + self.options.stall_s);
        let wake = [until, hello].into_iter().flatten().min().unwrap_or(soon);
        if self.is_idle {
            let soon = Instant::now() + std::time::Duration::from_millis(100);
            match stream.begins(Some(soon)) {
                Ok(Begins::Now) if self.listener.turn().wake() => {
                    self.is_idle = false;
                    return None;
                }
                Ok(Begins::Now) => {
                    self.stream = None;
                    return self.connect(until);
                }
                Ok(Begins::Not) => {}
                Err(error) => return Some(self.lost(&error)),
            }
            if let Some(arrival) = self.replaced() {
                return arrival;
            }
            return Some(Arrival::Quiet);
        }
        match stream.begins(Some(wake)) {
            Ok(Begins::Now) => None,
            Ok(Begins::Not) if hello.is_some_and(|hello| hello <= Instant::now()) => {
                let after_s = self.options.stall_s.as_secs_f64();
                let text = format!("the sender said nothing within {after_s} s of connecting");
                Some(self.lost(&StreamError::Invalid(text)))
            }
            Ok(Begins::Not) => {
                self.rest();
                Some(Arrival::Quiet)
            }
            Err(error) => Some(self.lost(&error)),
        }
    }

    /// The sender may be replaced from now on, until it speaks again.
    fn rest(&mut self) {
        self.is_idle = true;
        self.listener.turn().idle();
    }

    /// Takes the sender that came in the place of a silent one, if there is one.
    fn replaced(&mut self) -> Option<Option<Arrival>> {
        let now = Instant::now();
        let socket = self.listener.wait(Some(now))?;
        tracing::warn!("{}: a new sender takes the place of a silent one", P::NAME);
        self.is_idle = false;
        self.hello = Some(now + self.options.stall_s);
        let stream = Stream::new(socket, self.options.stall_s).map_err(StreamError::Io);
        match stream.and_then(|stream| self.protocol.connected(&stream).map(|()| stream)) {
            Ok(stream) => {
                self.stream = Some(stream);
                Some(Some(Arrival::End))
            }
            Err(error) => Some(Some(self.lost(&error))),
        }
    }
}

impl<P: Protocol> Source for TcpSource<P> {
    fn next(&mut self, until: Option<Instant>) -> Arrival {
        if std::mem::take(&mut self.run_ended) {
            return Arrival::End;
        }
        loop {
            if self.stream.is_none()
                && let Some(arrival) = self.connect(until)
            {
                return arrival;
            }
            if let Some(arrival) = self.wait(until) {
                match arrival {
                    // Without a deadline, silence is no news; nor is the end of a connection
                    // that is only a part of its run.
                    Arrival::Quiet if until.is_none_or(|until| until > Instant::now()) => continue,
                    arrival => return arrival,
                }
            }
            let Some(stream) = self.stream.as_mut() else { continue };
            match self.protocol.read(stream) {
                Ok(Message::Volume(scan, picture)) => {
                    self.hello = None;
                    return Arrival::Volume(scan, picture);
                }
                Ok(Message::End) => {
                    self.rest();
                    return Arrival::End;
                }
                Ok(Message::Goodbye) => {
                    self.stream = None;
                    self.listener.turn().free();
                    return Arrival::End;
                }
                Ok(Message::Nothing) => self.hello = None,
                Err(error) => return self.lost(&error),
            }
        }
    }
}
