use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use corticast_bold::{
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation},
};
use serde_json::Value;

use super::{peer::Peer, *};
use crate::{
    outputs::board::Board,
    product::{
        feedback::FeedbackReport,
        reports::{MotionReport, RunReport, RunState, VolumeReport},
        results::{DecodedResult, Probabilities},
    },
};

const RUN: &str = "sub-01_task-x_run-02";
/// No step takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(state: RunState) -> Product {
    Product::Run(RunReport {
        run: RUN.into(),
        state,
        repetition_time_s: 1.0,
        matrix: [2, 2, 2],
        source: "test".to_owned(),
        n_received: 0,
        n_missing: 0,
        n_late: 0,
        n_dropped: 0,
        n_time_off: 0,
        n_results: 0,
        has_shown: false,
        max_dvars: 0.0,
        max_fd_mm: 0.0,
        n_spikes: 0,
        published_ns: 0,
    })
}

fn volume(index: u32) -> Product {
    let motion = MotionReport {
        trans_x: -1.0,
        trans_y: -2.0,
        trans_z: 0.5,
        rot_x: 0.0,
        rot_y: 0.0,
        rot_z: 0.0,
        outcome: None,
    };
    Product::Volume(VolumeReport {
        run: RUN.into(),
        index: TrIndex(index),
        acquisition_time_s: f64::from(index),
        time_off_s: None,
        stimulus_time_s: 0.0,
        received_ns: 0,
        published_ns: 0,
        dvars: Some(1.5),
        motion: Some(motion),
        fd_mm: Some(0.25),
        tsnr: None,
        is_spike: false,
        n_missing_before: 0,
        dropped: None,
    })
}

fn no_score(index: u32) -> Product {
    scored(index, None)
}

fn score(index: u32, score: f64) -> Product {
    scored(index, Some(score))
}

fn scored(index: u32, score: Option<f64>) -> Product {
    Product::Feedback(FeedbackReport {
        run: RUN.into(),
        index: TrIndex(index),
        stimulus_time_s: 0.0,
        acquisition_time_s: f64::from(index),
        received_ns: 0,
        published_ns: 2_000_000_000,
        block: "regulate",
        block_index: None,
        condition: Some("up".into()),
        score,
        uncertainty: None,
        state: "shown",
        is_bad_data: false,
        is_beyond_design: false,
        blanked: false,
        is_blind: false,
        own: None,
    })
}

fn result(index: u32, values: [f32; 2]) -> Product {
    let names: Arc<[String]> = ["cat", "dog"].map(str::to_owned).into();
    Product::Result(DecodedResult {
        run: RUN.into(),
        index: TrIndex(index),
        stimulus_time_s: 0.0,
        acquisition_time_s: f64::from(index),
        received_ns: 0,
        stages_ns: BTreeMap::new(),
        published_ns: 0,
        concepts: Probabilities { names, values: values.to_vec(), is_exclusive: true },
        caption: None,
        failed_heads: Vec::new(),
        made_from: MadeFrom::Measured,
        shift: ShiftInterpolation::Nearest,
        dvars: None,
        fd_mm: None,
        is_spike: false,
        blanked: false,
    })
}

/// Sinks as in a session, fed by the test.
struct Rig {
    started: Started,
    blanking: Blanking,
}

impl Rig {
    async fn start(config: &str) -> Self {
        let config: SinksConfig = toml::from_str(config).unwrap();
        let blanking = Blanking::default();
        let (supervisor, _) = Supervisor::new();
        let started = start(&config, &blanking, &Metrics::new(), &supervisor).await.unwrap();
        Self { started, blanking }
    }

    fn push(&self, product: Product) {
        self.started.feeders.iter().for_each(|sink| sink.push(self.blanking.mark(product.clone())));
    }

    async fn blank(&self) {
        self.blanking.blank(&Board::new(Value::Null)).await;
    }

    fn finish(self) {
        drop(self.started.feeders);
        self.started.threads.join();
    }

    fn ask(&self, sink: &str, request: &str) -> String {
        let mut client = TcpStream::connect(&self.started.endpoints[sink]).unwrap();
        let mut answer = String::new();
        // A server without room closes the connection at once.
        client.write_all(request.as_bytes()).and_then(|()| client.read_to_string(&mut answer)).ok();
        answer
    }

    /// Asks until the answer contains a text: a sink takes its products in its own time.
    fn ask_until(&self, sink: &str, request: &str, expected: &str) -> String {
        let started = Instant::now();
        loop {
            let answer = self.ask(sink, request);
            if answer.contains(expected) {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "{answer:?} instead of {expected:?}");
            std::thread::yield_now();
        }
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A volume as `realtime_receiver.py` reads it.
fn floats(values: [f32; 7]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn afni_gets_hello_every_volume_and_bye() {
    let (listener, address) = listener();
    let rig = Rig::start(&format!("[afni]\nconnect = \"{address}\"\n")).await;
    rig.push(run(RunState::WarmingUp));
    rig.push(volume(0));
    rig.push(volume(1));
    rig.push(score(1, 0.75));
    rig.push(run(RunState::Ended));
    let mut bytes = Vec::new();
    accept(&listener).read_to_end(&mut bytes).unwrap();
    let motion = |value| floats([0.5, 1.0, 2.0, 0.0, -0.0, -0.0, value]);
    let hello = vec![0xab, 0xcd, 0xef, 0xac, 1, 0, 0, 0];
    // The first volume has no score.
    let bye = vec![0xde, 0xad, 0xde, 0xad];
    assert_eq!(bytes, [hello, motion(0.0), motion(0.75), bye].concat());
    rig.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn rtpspy_gets_text_opennft_a_float_and_rtcloud_a_file() {
    let (listener, address) = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(&format!(
        "[rtpspy]\nconnect = \"{address}\"\nvalue = \"concept:dog\"\n[opennft]\nsend = \"{}\"\n\
         [rtcloud]\nfolder = \"{}\"\n",
        udp.local_addr().unwrap(),
        folder.path().display()
    ))
    .await;
    rig.push(result(3, [0.75, 0.25]));
    rig.push(score(4, 0.5));
    let mut packet = [0; 8];
    assert_eq!(udp.recv(&mut packet).unwrap(), 4);
    assert_eq!(packet[..4], [0x3f, 0, 0, 0]);
    rig.finish();
    let mut text = String::new();
    accept(&listener).read_to_string(&mut text).unwrap();
    assert_eq!(text, "NF 3.000,3,0.250000;");
    let file = folder.path().join("run2/classoutput/vol-2-5.txt");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "0.5");
}

const MURFI: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><info><get dataid=\":*:*:*:3:*:*:roi-weightedave:active:\"></get></info>\n";

#[tokio::test(flavor = "multi_thread")]
async fn murfi_and_pyneal_answer_and_say_nothing_decoded_after_blank() {
    let rig = Rig::start("[murfi]\nlisten = \"127.0.0.1:0\"\n[pyneal]\nlisten = \"127.0.0.1:0\"\n");
    let rig = rig.await;
    let nothing = "<?xml version=\"1.0\" ?><info></info>\n";
    assert_eq!(rig.ask("murfi", MURFI), nothing);
    assert_eq!(rig.ask("pyneal", "0002"), "{\"foundResults\": false}\n");
    rig.push(score(2, 0.5));
    assert_eq!(
        rig.ask_until("murfi", MURFI, "<data"),
        "<?xml version=\"1.0\" ?><info><data name=\"roi-weightedave\" roi=\"active\" tr=\"3\" \
         dataid=\":*:*:*:3:*:*:roi-weightedave:active:\">0.500000 </data></info>\n"
    );
    let found = "{\"average\": 0.5, \"foundResults\": true}\n";
    assert_eq!(rig.ask_until("pyneal", "0002", "true"), found);
    rig.blank().await;
    // Also what was decoded before.
    assert_eq!(rig.ask("murfi", MURFI), nothing);
    assert_eq!(rig.ask("pyneal", "0002"), "{\"foundResults\": false}\n");
    rig.push(score(3, 0.5));
    rig.blanking.unblank();
    rig.push(score(4, 0.5));
    rig.ask_until("pyneal", "0004", "true");
    assert_eq!(rig.ask("pyneal", "0003"), "{\"foundResults\": false}\n");
    rig.finish();
}

/// The newest time point.
const NEWEST: &str = "<get dataid=\":*:*:*:*:*:*:x:y:\">\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_volume_has_no_value_rather_than_an_older_one() {
    let rig = Rig::start("[murfi]\nlisten = \"127.0.0.1:0\"\n[pyneal]\nlisten = \"127.0.0.1:0\"\n");
    let rig = rig.await;
    let nothing = "<info></info>";
    rig.push(score(2, 0.5));
    rig.ask_until("murfi", NEWEST, "tr=\"3\"");
    // The rest after a block.
    rig.push(no_score(3));
    rig.ask_until("murfi", NEWEST, nothing);
    assert!(rig.ask("murfi", MURFI).contains("0.500000"), "the block can be asked for as before");
    rig.ask_until("pyneal", "0002", "true");
    assert_eq!(rig.ask("pyneal", "0003"), "{\"foundResults\": false}\n");
    // A volume during `blank` stays without a value.
    rig.push(score(4, 0.25));
    rig.ask_until("murfi", NEWEST, "tr=\"5\"");
    rig.blank().await;
    rig.push(score(5, 0.75));
    rig.blanking.unblank();
    rig.ask_until("murfi", NEWEST, nothing);
    rig.push(score(6, 0.75));
    rig.ask_until("murfi", NEWEST, "tr=\"7\"");
    rig.finish();
}

/// Whether a sink worked, after each product that tells it.
fn works_after(sink: Box<dyn Sink>, choice: ValueChoice, products: Vec<Product>) -> Vec<bool> {
    let (feeder, drain) = drop_oldest(QUEUE, Metrics::new().output_dropped("test"));
    let blanking = Blanking::default();
    products.into_iter().for_each(|product| feeder.push(blanking.mark(product)));
    drop(feeder);
    let told = std::cell::RefCell::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let has_worked = |works| Vec::push(&mut told.borrow_mut(), works);
    feed(sink, &drain, Selection::new(choice), &blanking, runtime.handle(), has_worked);
    told.into_inner()
}

/// Each volume comes before its value.
fn volumes_and_scores(n: u32) -> Vec<Product> {
    (0..n).flat_map(|index| [volume(index), score(index, 0.5)]).collect()
}

#[test]
fn a_sink_whose_values_all_fail_never_works() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("out");
    let rtcloud = RtCloud::create(&inside).unwrap();
    std::fs::remove_dir(&inside).unwrap();
    std::fs::write(&inside, "a file").unwrap();
    let told = works_after(Box::new(rtcloud), ValueChoice::Feedback, volumes_and_scores(3));
    assert_eq!(told, [false; 3]);
    // Port 0 takes no packet.
    let opennft = OpenNft::new("127.0.0.1:0".parse().unwrap()).unwrap();
    let told = works_after(Box::new(opennft), ValueChoice::Feedback, volumes_and_scores(3));
    assert_eq!(told, [false; 3]);
    let (_there, address) = listener();
    let rtpspy = RtpSpy::new(address.parse().unwrap());
    let told = works_after(Box::new(rtpspy), ValueChoice::Fd, volumes_and_scores(2));
    assert_eq!(told, [true; 2], "one for each value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blanked_value_is_the_neutral_one_and_quality_is_not_blanked() {
    let (listener, address) = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let rig = Rig::start(&format!(
        "[rtpspy]\nconnect = \"{address}\"\nvalue = \"concept:cat\"\n[opennft]\nsend = \"{}\"\n\
         value = \"fd\"\n",
        udp.local_addr().unwrap()
    ))
    .await;
    rig.blank().await;
    rig.push(volume(0));
    rig.push(result(0, [0.75, 0.25]));
    rig.finish();
    let mut text = String::new();
    accept(&listener).read_to_string(&mut text).unwrap();
    assert_eq!(text, "NF 0.000,0,0.500000;");
    let mut packet = [0; 4];
    udp.recv(&mut packet).unwrap();
    assert_eq!(packet, 0.25_f32.to_be_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_or_send_garbage_do_not_keep_others_out() {
    let rig = Rig::start("[pyneal]\nlisten = \"127.0.0.1:0\"\n[murfi]\nlisten = \"127.0.0.1:0\"\n");
    let rig = rig.await;
    rig.push(score(2, 0.5));
    rig.ask_until("pyneal", "0002", "true");
    let stalled: Vec<_> =
        (0..100).map(|_| TcpStream::connect(&rig.started.endpoints["pyneal"]).unwrap()).collect();
    // Each loses its place after a second. A client that found none asks again.
    rig.ask_until("pyneal", "0002", "true");
    drop(stalled);
    for garbage in ["nonsense", "\u{0}\u{0}\u{0}\u{0}", "99999999999999999999", "-001"] {
        rig.ask_until("pyneal", garbage, "{\"foundResults\": false}\n");
    }
    for garbage in ["<get dataid=\":a:\">\n", "<get dataid=\":*:*:*:3:*:*:<b>:c:\">\n", "\n"] {
        assert!(!rig.ask("murfi", garbage).contains("data"));
    }
    // A request without an end is cut off.
    let mut client = TcpStream::connect(&rig.started.endpoints["murfi"]).unwrap();
    let mut n_sent = 0;
    while n_sent < 1 << 30 && client.write_all(&[b'x'; 65_536]).is_ok() {
        n_sent += 65_536;
    }
    assert!(n_sent < 1 << 30);
    rig.finish();
}

#[test]
fn a_peer_that_does_not_read_loses_its_connection_and_delays_nobody() {
    let (listener, address) = listener();
    let mut peer = Peer::new(address.parse().unwrap());
    assert!(peer.connect().unwrap());
    let deaf = accept(&listener);
    let n_sent = (0..10_000).take_while(|_| peer.send(&[0; 65_536]).is_ok()).count();
    assert!(n_sent < 10_000, "{n_sent}");
    assert!(peer.send(b"x").is_err());
    drop(deaf);
}

#[test]
fn a_peer_that_comes_back_is_connected_again() {
    let (listener, address) = listener();
    let mut peer = Peer::new(address.parse().unwrap());
    assert!(peer.connect().unwrap());
    let mut noisy = accept(&listener);
    // Nobody keeps what it says.
    noisy.write_all(&[b'x'; 100_000]).unwrap();
    assert!(!peer.connect().unwrap());
    noisy.shutdown(Shutdown::Both).unwrap();
    drop((noisy, listener));
    let started = Instant::now();
    let refused = loop {
        match peer.connect() {
            Ok(_) => assert!(started.elapsed() < PATIENCE),
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains(&address), "{refused}");
    let listener = TcpListener::bind(&address).unwrap();
    while peer.connect().is_err() {
        assert!(started.elapsed() < PATIENCE);
    }
    peer.send(b"back").unwrap();
    let mut bytes = [0; 4];
    accept(&listener).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"back");
}

/// The value and the volume of the next sample of an LSL stream.
fn next_sample(stream: &mut TcpStream) -> (f64, [f32; 2]) {
    let mut bytes = [0; 17];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[0], 2);
    let channel = |at: usize| f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    (f64::from_le_bytes(bytes[1..9].try_into().unwrap()), [channel(9), channel(13)])
}

#[tokio::test(flavor = "multi_thread")]
async fn lsl_describes_itself_and_streams_samples() {
    let rig = Rig::start("[lsl]\nname = \"Corticast test\"\n").await;
    let info = rig.ask("lsl", "LSL:fullinfo\r\n");
    assert!(info.contains("<name>Corticast test</name>"), "{info}");
    assert!(info.contains("<label>volume</label>"), "{info}");
    let uid = info.split("<uid>").nth(1).unwrap().split('<').next().unwrap();
    let mut inlet = TcpStream::connect(&rig.started.endpoints["lsl"]).unwrap();
    inlet.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("LSL:streamfeed/110 {uid}\r\nValue-Size: 4\r\n\r\n");
    inlet.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        inlet.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"LSL/110 200 OK\r\n"));
    assert_eq!(next_sample(&mut inlet), (123_456.789, [4.0, -5.0]));
    assert_eq!(next_sample(&mut inlet), (123_456.789, [2.0, -3.0]));
    // The inlet is in the list a moment after its handshake, so send until one arrives.
    inlet.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let started = Instant::now();
    while inlet.peek(&mut [0]).is_err() {
        rig.push(score(7, 0.5));
        assert!(started.elapsed() < PATIENCE);
    }
    inlet.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(next_sample(&mut inlet), (2.0, [0.5, 7.0]));
    rig.finish();
}
