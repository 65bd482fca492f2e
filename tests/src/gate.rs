//! A way to a server on which answers can be held back: the server gets everything and does it, and nobody hears of that.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A way to a server. What is held back is passed on when the server may speak again.
pub struct Gate {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Gate {
    /// To the server at this address (`http://host:port`).
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn to(gateway: &str) -> Self {
        let server = gateway.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (silent, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (held, ended) = (Arc::clone(&silent), Arc::clone(&over));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (Ok(up), Ok(down)) = (client.try_clone(), server.try_clone()) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                thread::spawn(move || pass(up, server, || {}));
                let held = Arc::clone(&held);
                thread::spawn(move || {
                    pass(down, client, || {
                        while held.load(Ordering::Acquire) {
                            thread::sleep(Duration::from_millis(5));
                        }
                    });
                });
            }
        });
        Self { address, silent, over }
    }

    /// Where it begins.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// No answer comes any more.
    pub fn hold(&self) {
        self.silent.store(true, Ordering::Release);
    }

    /// Those that were held back come, and all others.
    pub fn release(&self) {
        self.silent.store(false, Ordering::Release);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.release();
        // Whoever waits for the next connection sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes on what comes, each time after `wait`, until either end is closed.
fn pass(mut from: TcpStream, mut to: TcpStream, wait: impl Fn()) {
    let mut bytes = vec![0; 64 * 1024];
    let mut step = || -> io::Result<bool> {
        let count = from.read(&mut bytes)?;
        wait();
        to.write_all(bytes.get(..count).unwrap_or_default())?;
        Ok(count > 0)
    };
    while matches!(step(), Ok(true)) {}
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
