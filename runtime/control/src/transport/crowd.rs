//! Places of connections at a port. No connection waits for one: the connection that has kept one
//! longest without showing anything makes room.
//!
//! A port that waits before it accepts is closed to everybody by callers who connect and say
//! nothing. Here they push out one another: of one address only so many have places, and one that
//! asks at once, as a probe does, is heard.

use std::{
    future::Future,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Those who have places at a port.
#[derive(Debug, Clone)]
pub struct Crowd {
    places: usize,
    of_one_peer: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// The oldest first.
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    peer: IpAddr,
    /// Whether it has shown what it wants.
    known: bool,
    leave: CancellationToken,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    leave: CancellationToken,
    held: Arc<Mutex<Held>>,
}

impl Crowd {
    /// So many places, and so many of them for callers from one address.
    pub fn new(places: usize, of_one_peer: usize) -> Self {
        Self {
            places,
            of_one_peer,
            held: Arc::default(),
        }
    }

    /// A place for a caller from this address. If there is none left, the oldest silent caller
    /// goes: one of the same address if that has its share, else one of the address that has most.
    /// None when all have shown what they want.
    pub fn enter(&self, peer: IpAddr) -> Option<Place> {
        let mut held = locked(&self.held);
        let of = |held: &Held, peer: IpAddr| held.all.iter().filter(|one| one.peer == peer).count();
        let full = held.all.len() >= self.places;
        let shared = of(&held, peer) >= self.of_one_peer;
        if full || shared {
            let silent = held.all.iter().enumerate();
            let silent = silent.filter(|(_, one)| !one.known && (!shared || one.peer == peer));
            let (at, _) = silent.max_by_key(|(at, one)| (of(&held, one.peer), usize::MAX - at))?;
            held.all.remove(at).leave.cancel();
        }
        held.next += 1;
        let (number, leave) = (held.next, CancellationToken::new());
        held.all.push(Entry {
            number,
            peer,
            known: false,
            leave: leave.clone(),
        });
        Some(Place {
            number,
            leave,
            held: self.held.clone(),
        })
    }
}

impl Place {
    /// Does `work` as long as the place is kept; none when it had to make room.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.leave.run_until_cancelled(work).await
    }

    /// The caller has shown what it wants: its place is its own.
    pub fn keep(&self) {
        let mut held = locked(&self.held);
        let mut all = held.all.iter_mut();
        if let Some(own) = all.find(|one| one.number == self.number) {
            own.known = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.held)
            .all
            .retain(|one| one.number != self.number);
    }
}

fn locked(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn gone(places: &[Place]) -> Vec<usize> {
        let gone = places.iter().enumerate();
        gone.filter(|(_, place)| place.leave.is_cancelled())
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn of_one_address_the_oldest_silent_caller_makes_room_for_the_next() {
        let crowd = Crowd::new(8, 3);
        let mut places: Vec<Place> = (0..3).map(|_| crowd.enter(peer(1)).unwrap()).collect();
        places[0].keep();
        places.push(crowd.enter(peer(1)).unwrap());
        assert_eq!(gone(&places), [1], "who has asked stays");
        places.push(crowd.enter(peer(2)).unwrap());
        assert_eq!(gone(&places), [1], "another address has places of its own");
        places.iter().for_each(Place::keep);
        assert!(crowd.enter(peer(1)).is_none());
        assert!(crowd.enter(peer(2)).is_some());
    }

    #[test]
    fn of_many_addresses_the_one_with_most_callers_makes_room() {
        let crowd = Crowd::new(4, 3);
        let mut places: Vec<Place> = [1, 2, 2, 3]
            .map(|last| crowd.enter(peer(last)).unwrap())
            .into();
        places.push(crowd.enter(peer(4)).unwrap());
        assert_eq!(gone(&places), [1]);
        places.push(crowd.enter(peer(5)).unwrap());
        assert_eq!(
            gone(&places),
            [0, 1],
            "and the oldest where all have as many"
        );
        places.clear();
        assert_eq!(locked(&crowd.held).all.len(), 0);
    }
}
