//! A TCP proxy of our own, so that a test can cut, refuse or freeze the connections it owns and
//! nobody else's; or say something to a client in the server's name.
//!
//! Decides: what happens to the bytes between a client and a server. Never does: understand them;
//! it can recognise what a client says last (`COMMIT`), and cut exactly there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

/// What becomes of the words at which a connection is cut. The client hears nothing either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server gets them and answers them; only the answer is lost.
    Delivered,
    /// The server never gets them, and sees its client go.
    Lost,
    /// They are still on their way, and the server sees its client stay, until
    /// [`Proxy::settle`] says otherwise.
    Held,
}

/// Cuts the first connection whose client says these words last before it falls silent.
#[derive(Debug, Clone)]
struct Trap {
    words: Vec<u8>,
    fate: Fate,
}

/// What all connections of a proxy share.
#[derive(Debug, Clone)]
struct Shared {
    mode: watch::Sender<Mode>,
    generation: watch::Sender<u64>,
    words: watch::Sender<Words>,
    trap: Arc<Mutex<Option<Trap>>>,
    sprung: Arc<AtomicUsize>,
    settled: watch::Sender<Option<Fate>>,
    accepted: Arc<AtomicUsize>,
}

/// A proxy to one server; gone when dropped, with its connections.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    shared: Shared,
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
        let shared = Shared {
            mode: watch::Sender::new(Mode::Open),
            generation: watch::Sender::new(0),
            words: watch::Sender::new(Words::default()),
            trap: Arc::default(),
            sprung: Arc::default(),
            settled: watch::Sender::new(None),
            accepted: Arc::default(),
        };
        let (target, sharing) = (target.to_owned(), shared.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *sharing.mode.borrow() == Mode::Refusing {
                    continue;
                }
                let number = sharing.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let mut cuts = sharing.generation.subscribe();
                let shared = sharing.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(client, server, number, &shared) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, shared, task }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Cuts every connection there is, without a word of the protocol.
    pub fn cut(&self) {
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Forwards again.
    pub fn open(&self) {
        self.shared.mode.send_replace(Mode::Open);
    }

    /// Turns new connections away from now on.
    pub fn refuse(&self) {
        self.shared.mode.send_replace(Mode::Refusing);
    }

    /// Says something to the client of a connection (the first is 1) in the server's name; the
    /// connection must be quiet, so that it falls between two frames.
    pub fn say(&self, connection: usize, words: Vec<u8>) {
        self.shared.words.send_replace((connection, words));
    }

    /// Forwards nothing from now on, in either direction.
    pub fn freeze(&self) {
        self.shared.mode.send_replace(Mode::Frozen);
    }

    /// Cuts the first connection, from now on, whose client says `words` last before it falls
    /// silent (a NUL that ends them does not count): `cut_at(b"COMMIT", …)` is exactly between
    /// COMMIT sent and its answer. Connections before and after are left alone.
    pub fn cut_at(&self, words: &[u8], fate: Fate) {
        self.shared.settled.send_replace(None);
        let trap = Trap { words: words.to_vec(), fate };
        *self.shared.trap.lock().expect("no panic under the lock") = Some(trap);
    }

    /// How many connections were cut by [`Proxy::cut_at`].
    pub fn sprung(&self) -> usize {
        self.shared.sprung.load(Ordering::SeqCst)
    }

    /// What becomes of the words that are held: delivered, or lost.
    pub fn settle(&self, fate: Fate) {
        self.shared.settled.send_replace(Some(fate));
    }
}

/// One connection, until either side ends it or it is cut.
async fn serve(client: TcpStream, server: TcpStream, number: usize, shared: &Shared) {
    let (mut client_read, mut client_write) = client.into_split();
    let (mut server_read, mut server_write) = server.into_split();
    let trapped = {
        let up = forward(&mut client_read, &mut server_write, 0, shared);
        let down = forward(&mut server_read, &mut client_write, number, shared);
        tokio::pin!(up, down);
        tokio::select! {
            trapped = &mut up => match trapped {
                Some(trapped) => trapped,
                None => {
                    down.await;
                    return;
                }
            },
            _ = &mut down => {
                up.await;
                return;
            }
        }
    };
    let (mut fate, bytes) = trapped;
    drop((client_read, client_write));
    if fate == Fate::Held {
        let mut settled = shared.settled.subscribe();
        let Ok(told) = settled.wait_for(Option::is_some).await else { return };
        fate = told.expect("it was waited for");
    }
    if fate == Fate::Delivered && server_write.write_all(&bytes).await.is_ok() {
        // Once its answer begins, whatever the words were to do is done.
        server_read.readable().await.ok();
    }
}

/// One direction, until it ends; or until the trap springs, with what was said then.
async fn forward(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    hears: usize,
    shared: &Shared,
) -> Option<(Fate, Vec<u8>)> {
    let (mut mode, mut said) = (shared.mode.subscribe(), shared.words.subscribe());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(read @ 1..) => buffer[..read].to_vec(),
                _ => break,
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
            break;
        }
        if hears == 0
            && let Some(fate) = spring(shared, &bytes)
        {
            return Some((fate, bytes));
        }
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
    None
}

/// The fate of a connection whose client has just said this, if it is to be cut here.
fn spring(shared: &Shared, bytes: &[u8]) -> Option<Fate> {
    let mut trap = shared.trap.lock().expect("no panic under the lock");
    let said = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let sprung = trap.take_if(|trap| said.ends_with(&trap.words))?;
    shared.sprung.fetch_add(1, Ordering::SeqCst);
    Some(sprung.fate)
}
