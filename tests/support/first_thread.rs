//! A process that lives on without its first thread: `/proc` shows it as a zombie.

/// Does so for a long time, for Python.
pub(crate) const LIVES_WITHOUT: &str = "import ctypes, threading, time; \
    threading.Thread(target=time.sleep, args=(1000,)).start(); \
    ctypes.CDLL(None).pthread_exit(None)";
