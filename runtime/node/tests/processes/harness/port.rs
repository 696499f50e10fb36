//! Ports of the operating system, kept for processes that come and go.

use tokio::net::TcpSocket;

/// A port on loopback that stays ours: bound, never listened on. A process may listen on it all the
/// same, because both sides say `SO_REUSEADDR`.
pub(crate) struct Port {
    number: u16,
    _kept: TcpSocket,
}

impl Port {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            number: socket.local_addr().unwrap().port(),
            _kept: socket,
        }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
