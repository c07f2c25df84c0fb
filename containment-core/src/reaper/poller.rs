//! What a reaper waits on: the sources of many machines, in one epoll.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, Result};

use crate::{Interest, Source, Time, timeout};

/// The key of a machine, or that of the orders.
pub(super) type Key = u64;

/// The key under which the orders' bell rings.
pub(super) const ORDERS: Key = Key::MAX;

/// One epoll instance. Readiness is told again and again until it is read away (level triggered), so
/// that none is lost.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

/// As many at once as one wait gives.
const BATCH: usize = 256;

impl Poller {
    pub(super) fn new(bell: &OwnedFd) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, bell, EventData::new_u64(ORDERS), EventFlags::IN)?;
        Ok(Self { epoll })
    }

    /// Watches `wanted` for `key` instead of `watched`. What is in both stays as it is.
    ///
    /// # Errors
    /// When a source cannot be added (ENOSPC, ENOMEM); the others are watched all the same.
    pub(super) fn change(
        &self,
        key: Key,
        watched: &mut Vec<Source>,
        wanted: Vec<Source>,
    ) -> Result<()> {
        let among =
            |all: &[Source], one: &Source| all.iter().any(|other| Arc::ptr_eq(&other.fd, &one.fd));
        for gone in watched.iter().filter(|source| !among(&wanted, source)) {
            self.forget(gone);
        }
        let mut failed = Ok(());
        let known = std::mem::take(watched);
        for source in wanted {
            let added = if among(&known, &source) { Ok(()) } else { self.add(key, &source) };
            match added {
                Ok(()) => watched.push(source),
                Err(errno) => failed = Err(errno),
            }
        }
        failed
    }

    fn add(&self, key: Key, source: &Source) -> Result<()> {
        let flags = match source.interest {
            Interest::Readable => EventFlags::IN,
            Interest::Priority => EventFlags::PRI,
        };
        epoll::add(&self.epoll, &source.fd, EventData::new_u64(key), flags)
    }

    /// It is there, for we hold it: nothing can fail.
    fn forget(&self, source: &Source) {
        if let Err(errno) = epoll::delete(&self.epoll, &source.fd) {
            tracing::debug!(%errno, "a descriptor was not watched any more");
        }
    }

    /// Waits until something is ready, or `until`, and gives the keys of what is, each once.
    pub(super) fn wait(&self, now: Time, until: Time) -> Vec<Key> {
        let timeout = timeout(until.since(now));
        let mut events = [MaybeUninit::uninit(); BATCH];
        let ready = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => &*ready,
            Err(Errno::INTR) => &[],
            Err(errno) => {
                tracing::warn!(%errno, "epoll_wait failed; observing again");
                &[]
            }
        };
        let mut keys: Vec<_> = ready.iter().map(|event| event.data.u64()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
