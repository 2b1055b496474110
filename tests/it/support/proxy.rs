//! A TCP proxy of our own, so that a test can cut, refuse or freeze the connections it owns and
//! nobody else's.
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

/// A proxy to one server; gone when dropped, with its connections.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    generation: watch::Sender<u64>,
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
        let accepted = Arc::new(AtomicUsize::new(0));
        let target = target.to_owned();
        let (modes, generations, count) = (mode.clone(), generation.clone(), accepted.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Refusing {
                    continue;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                for (from, to) in [(client_read, server_write), (server_read, client_write)] {
                    let (modes, mut cuts) = (modes.subscribe(), generations.subscribe());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = forward(from, to, modes) => {}
                            _ = cuts.changed() => {}
                        }
                    });
                }
            }
        });
        Self { address, mode, generation, accepted, task }
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

    /// Forwards nothing from now on, in either direction.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if mode.wait_for(|mode| *mode != Mode::Frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
