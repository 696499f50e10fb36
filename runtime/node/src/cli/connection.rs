//! What the bytes between two workers cost, with and without TLS: for `bench`.

use std::{io, sync::Arc};

use rustls::time_provider::DefaultTimeProvider;
use streamkeeper_security::{MasterKey, Material, Rotation, WorkerIdentity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::TcpListener,
};

use super::measurement::{Spread, cpu_seconds};
use streamkeeper_control::{
    clock,
    transport::{Acceptor, Transport},
};

/// Bytes of one run.
const TOTAL: usize = 2 << 30;
/// A frame of some thousand rows.
const FRAME: usize = 64 << 10;
/// Buffers of the data plane.
const BUFFER: usize = 128 << 10;
const MIB: f64 = (1 << 20) as f64;

/// MiB per CPU-second of both sides together, and per second.
struct Rate {
    cpu: f64,
    wall: f64,
}

/// Prints both, in turns so that a noisy neighbour hits both.
pub(super) async fn measure(runs: u32) -> Result<(), String> {
    let (mut plain, mut tls) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        plain.push(one(Transport::Plain).await?);
        tls.push(one(certified()?).await?);
    }
    println!("\n2 GiB between two workers, both sides in this process, frames of 64 KiB");
    println!(
        "{:<12} {:>30} {:>30}",
        "connection", "MiB / CPU-s, both sides", "MiB / s"
    );
    for (name, rates) in [("without TLS", plain), ("TLS 1.3", tls)] {
        let of = |rate: fn(&Rate) -> f64| Spread::of(rates.iter().map(rate)).text();
        println!(
            "{name:<12} {:>30} {:>30}",
            of(|rate| rate.cpu),
            of(|rate| rate.wall)
        );
    }
    Ok(())
}

/// Keys of no job.
fn certified() -> Result<Transport, String> {
    let master = MasterKey::new(&[0; 32]).map_err(|error| error.to_string())?;
    let material = Material::of(&master.job("bench")).map_err(|error| error.to_string())?;
    let clock = Arc::new(DefaultTimeProvider);
    let identity = WorkerIdentity::new(material, Rotation::default(), clock);
    Ok(Transport::Tls(Arc::new(identity)))
}

async fn one(transport: Transport) -> Result<Rate, String> {
    let failed = |error: io::Error| format!("measuring connections: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?.to_string();
    let acceptor = Acceptor::of_peers(transport.clone(), "a benchmark");
    let patience = std::time::Duration::from_secs(5);
    let (sending, receiving) = tokio::join!(transport.dial_peer(&at, patience), async {
        acceptor.admit(acceptor.next(&listener).await).await
    });
    let (sending, (receiving, _)) = (
        sending.map_err(failed)?,
        receiving.ok_or("the connection was refused")?,
    );
    let (cpu, began) = (cpu_seconds()?, clock::now());
    let sender = tokio::spawn(async move {
        let mut to = BufWriter::with_capacity(BUFFER, sending);
        let frame = vec![7_u8; FRAME];
        for _ in 0..TOTAL / FRAME {
            to.write_all(&frame).await?;
        }
        to.flush().await
    });
    let mut from = BufReader::with_capacity(BUFFER, receiving);
    let mut frame = vec![0_u8; FRAME];
    for _ in 0..TOTAL / FRAME {
        from.read_exact(&mut frame).await.map_err(failed)?;
    }
    sender
        .await
        .map_err(|error| error.to_string())?
        .map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark")]
    let mib = TOTAL as f64 / MIB;
    Ok(Rate {
        cpu: mib / (cpu_seconds()? - cpu),
        wall: mib / began.elapsed().as_secs_f64(),
    })
}
