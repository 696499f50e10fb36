//! An API server with too much to do: its answer is no Status, and says when to come again in a
//! header.

use std::sync::Arc;

use futures::future::join_all;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http_body_util::BodyExt;
use kube::Client;
use streamkeeper_controller::clock::Clock;
use streamkeeper_harness::{
    api_server::{ApiServer, Refusal},
    interference::{Fate, Interference, Life},
    world::World,
};

use super::{requests::NAMESPACE, with_a_real_one};

/// Who are too many at once.
const CROWD: usize = 64;

/// What is told apart by those who are refused.
#[derive(Debug, PartialEq)]
struct Busy {
    content: String,
    text: String,
    asks_for_seconds: bool,
}

/// Asks for a change of what is not there; anything but a 429 is none.
async fn ask(client: &Client) -> Option<Busy> {
    let request = http::Request::patch(format!("/api/v1/namespaces/{NAMESPACE}/configmaps/nobody"))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(b"{}".to_vec().into())
        .expect("a request");
    let (parts, body) = client.send(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    let header = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    (parts.status == 429).then(|| Busy {
        content: header(CONTENT_TYPE).to_owned(),
        text: String::from_utf8_lossy(&body).into_owned(),
        asks_for_seconds: header(RETRY_AFTER).parse::<u64>().is_ok(),
    })
}

#[test]
fn an_api_server_with_too_much_to_do_says_so_like_a_real_one() {
    with_a_real_one(async |control_plane| {
        let world = World::new(Clock::default());
        let busy = Fate::Refused(Refusal::too_many_requests());
        world
            .lock()
            .expect("no panic while locked")
            .interferences
            .push(Interference::nth(0, busy));
        let server = ApiServer {
            world: Arc::clone(&world),
            life: Life::new("operator"),
        };
        let simulated = ask(&Client::new(server, NAMESPACE)).await;
        let crowd = control_plane.client_that_is_counted();
        let mut real = None;
        for _ in 0..20 {
            let answers = join_all((0..CROWD).map(|_| ask(&crowd))).await;
            real = answers.into_iter().flatten().next();
            if real.is_some() {
                break;
            }
        }
        assert!(real.is_some(), "nobody of the crowd was refused");
        assert_eq!(simulated, real);
    });
}
