//! The time to move the bytes alone on this machine, a lower bound for any software.

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use corticast::clock::monotonic_ns;

use crate::{numbers::Samples, scan::VOLUME_BYTES};

/// Approximate size of a result, bytes.
const RESULT_BYTES: usize = 500;

/// Copying one volume, as int16.
pub fn copy() -> Samples {
    let volume = vec![1_u8; VOLUME_BYTES];
    let mut place = vec![0_u8; VOLUME_BYTES];
    let mut times = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        place.copy_from_slice(black_box(&volume));
        black_box(&mut place);
        times.push(started.elapsed().as_nanos() as u64);
    }
    Samples::new(times)
}

/// Sends the bytes of one volume over a bare TCP connection on the loopback, and the bytes of a
/// result back, at the pace of a fast scanner: two threads that sleep in between, no protocol.
pub async fn loopback(n: usize, every: Duration) -> anyhow::Result<Samples> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut volume = vec![0; VOLUME_BYTES];
        for _ in 0..n {
            far.read_exact(&mut volume)?;
            far.write_all(&volume[..RESULT_BYTES])?;
        }
        Ok(())
    });
    let mut ticks = tokio::time::interval(every);
    let (volume, mut result) = (vec![1; VOLUME_BYTES], vec![0; RESULT_BYTES]);
    let mut times = Vec::new();
    for _ in 0..n {
        ticks.tick().await;
        let started_ns = monotonic_ns();
        near.write_all(&volume)?;
        near.read_exact(&mut result)?;
        times.push(monotonic_ns() - started_ns);
    }
    echo.await??;
    Ok(Samples::new(times))
}
