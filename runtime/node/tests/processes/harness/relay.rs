//! An address whose owner changes, as a name in DNS does.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

struct State {
    target: String,
    connections: JoinSet<()>,
}

/// Forwards connections.
pub(crate) struct Relay {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    _serving: AbortOnDropHandle<()>,
}

impl Relay {
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = JoinSet::new();
        let state = Arc::new(Mutex::new(State {
            target,
            connections,
        }));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = shared.lock().unwrap();
                let target = state.target.clone();
                state.connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self {
            address,
            state,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Cuts every connection; new ones go to another target.
    pub(crate) fn turn_to(&self, target: String) {
        let mut state = self.state.lock().unwrap();
        state.connections.abort_all();
        state.target = target;
    }
}
