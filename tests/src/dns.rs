//! A name server that says whatever a test makes it say, or nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::net::UdpSocket;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Answers questions for A and AAAA over UDP; of names it does not know it says that there are
/// none. While it is silent it reads questions and answers nothing.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    questions: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    is_silent: bool,
    names: HashMap<String, Vec<IpAddr>>,
}

/// Seconds that answers hold; the edge keeps them for 5 s at least.
const TTL: u32 = 1;

/// Bytes of a question's head, and of a type and class behind its name.
const HEAD: usize = 12;
const TYPE_AND_CLASS: usize = 4;

const A: u16 = 1;
const AAAA: u16 = 28;

/// A response, recursion available; and the same where the name does not exist.
const FOUND: [u8; 2] = [0x81, 0x80];
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];

impl NameServer {
    /// Starts on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let server = Self {
            address: socket.local_addr().expect("a bound socket has an address"),
            state: Arc::default(),
            questions: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        let (state, questions) = (Arc::clone(&server.state), Arc::clone(&server.questions));
        let stop = server.shutdown.clone();
        TaskTracker::new().spawn(async move {
            let mut buffer = [0; 512];
            while let Some(Ok((len, from))) =
                stop.run_until_cancelled(socket.recv_from(&mut buffer)).await
            {
                questions.fetch_add(1, SeqCst);
                let answer = {
                    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.answer(&buffer[..len])
                };
                if let Some(answer) = answer {
                    // Who asked may be gone.
                    let _gone = socket.send_to(&answer, from).await;
                }
            }
        });
        server
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name these addresses.
    pub fn name(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|ip| ip.parse().expect("an address"));
        self.state().names.insert(name.to_owned(), addresses.collect());
    }

    /// Makes it answer nothing, or answer again.
    pub fn silent(&self, is_silent: bool) {
        self.state().is_silent = is_silent;
    }

    /// Questions so far, answered or not.
    pub fn questions(&self) -> usize {
        self.questions.load(SeqCst)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl State {
    /// The answer to a question, unless it is none or nothing is to be said (RFC 1035 §4).
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        if self.is_silent {
            return None;
        }
        let (name, end) = name(question)?;
        let kind = question.get(end..end + TYPE_AND_CLASS)?;
        let kind = u16::from_be_bytes([kind[0], kind[1]]);
        let known = self.names.get(&name);
        let records: Vec<_> =
            known.into_iter().flatten().filter_map(|address| record(*address, kind)).collect();
        let flags = if known.is_some() { FOUND } else { NO_SUCH_NAME };
        let count = u16::try_from(records.len()).ok()?.to_be_bytes();
        let mut answer = [&question[..2], &flags, &[0, 1], &count, &[0; 4]].concat();
        answer.extend_from_slice(&question[HEAD..end + TYPE_AND_CLASS]);
        records.iter().for_each(|record| answer.extend_from_slice(record));
        Some(answer)
    }
}

/// The name asked for, without its last dot, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEAD);
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + len)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += len;
    }
}

/// The record of an address, if it is of the kind asked for. The name is the question's.
fn record(address: IpAddr, kind: u16) -> Option<Vec<u8>> {
    let (own, data) = match address {
        IpAddr::V4(ip) => (A, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
    };
    let len = u16::try_from(data.len()).ok()?.to_be_bytes();
    let head = [&[0xc0, 0x0c][..], &own.to_be_bytes(), &[0, 1], &TTL.to_be_bytes(), &len].concat();
    (own == kind).then(|| [head, data].concat())
}
