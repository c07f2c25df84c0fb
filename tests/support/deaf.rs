//! A file system (FUSE) that never answers: whoever asks it something waits uninterruptibly.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// A file system that is mounted and then answers nothing. Whoever waits for it is let go when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Deaf(File);

impl Deaf {
    /// Mounts one.
    pub(crate) fn mount_on(point: &Path) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("contain-test", point, "fuse", flags, &*options).unwrap();
        let mut deaf = Self(device);
        deaf.answer_the_first_request();
        deaf
    }

    /// `FUSE_INIT` (linux/fuse.h): the header of an answer, then the version and no flag.
    fn answer_the_first_request(&mut self) {
        const INIT: u32 = 26;
        let request = self.next_request();
        assert_eq!(number(&request, 4), INIT);
        let mut answer = vec![0; 16 + 64];
        answer[..4].copy_from_slice(&80_u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        answer[16..20].copy_from_slice(&7_u32.to_ne_bytes());
        answer[20..24].copy_from_slice(&31_u32.to_ne_bytes());
        answer[36..40].copy_from_slice(&4096_u32.to_ne_bytes());
        self.0.write_all(&answer).unwrap();
    }

    /// Once it is read, whoever made it cannot be interrupted any more.
    pub(crate) fn next_request(&mut self) -> Vec<u8> {
        let mut request = vec![0; 64 * 1024];
        let length = self.0.read(&mut request).unwrap();
        request.truncate(length);
        request
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}
