//! A TCP proxy of our own, so that a test can cut, refuse or freeze the connections it owns and
//! nobody else's; or say something to a client in the server's name.
//!
//! Decides: what happens to the bytes between a client and a server. Never does: look at them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Forwards.
    Open,
    /// Closes every new connection at once.
    Refusing,
    /// Keeps connections and forwards nothing.
    Frozen,
}

/// What is said in the server's name, and to which connection (from 1).
type Words = (usize, Vec<u8>);

/// A proxy to one server; gone when dropped, with its connections.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    generation: watch::Sender<u64>,
    words: watch::Sender<Words>,
    accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Proxy {
    /// Starts a proxy to `target` (host and port).
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mode = watch::Sender::new(Mode::Open);
        let generation = watch::Sender::new(0);
        let words = watch::Sender::new(Words::default());
        let accepted = Arc::new(AtomicUsize::new(0));
        let target = target.to_owned();
        let (modes, generations, count) = (mode.clone(), generation.clone(), accepted.clone());
        let said = words.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Refusing {
                    continue;
                }
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                let ways = [(client_read, server_write, 0), (server_read, client_write, number)];
                for (from, to, hears) in ways {
                    let said = said.subscribe();
                    let (modes, mut cuts) = (modes.subscribe(), generations.subscribe());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = forward(from, to, modes, (hears, said)) => {}
                            _ = cuts.changed() => {}
                        }
                    });
                }
            }
        });
        Self { address, mode, generation, words, accepted, task }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Cuts every connection there is, without a word of the protocol.
    pub fn cut(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Forwards again.
    pub fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }

    /// Turns new connections away from now on.
    pub fn refuse(&self) {
        self.mode.send_replace(Mode::Refusing);
    }

    /// Says something to the client of a connection (the first is 1) in the server's name; the
    /// connection must be quiet, so that it falls between two frames.
    pub fn say(&self, connection: usize, words: Vec<u8>) {
        self.words.send_replace((connection, words));
    }

    /// Forwards nothing from now on, in either direction.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    (hears, mut said): (usize, watch::Receiver<Words>),
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(read @ 1..) => buffer[..read].to_vec(),
                _ => return,
            },
            Ok(()) = said.changed() => {
                let (connection, words) = said.borrow_and_update().clone();
                if connection != hears || hears == 0 {
                    continue;
                }
                words
            }
        };
        if mode.wait_for(|mode| *mode != Mode::Frozen).await.is_err() {
            return;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
