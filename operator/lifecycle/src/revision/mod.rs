//! A revision: what a job asks for that only new pods can give.
//! * [`record`]: its content, as its ControllerRevision keeps it.
//! * [`storage`]: where its state lies.
//! * [`template`]: the pod template in it, checked.
//! * [`error`]: why no revision can be made of a spec.

pub mod error;
pub mod record;
pub mod storage;
pub mod template;
