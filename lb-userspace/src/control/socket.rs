//! The control socket as a file: made so that it is never more open than it should be, never taken
//! from an agent that lives, and gone when the agent is.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::http::Listener;

/// Owner and group may connect.
const MODE: u32 = 0o660;
/// Clients that wait to be accepted.
const BACKLOG: u32 = 128;

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its folder is not there and can't be made.
    #[error("control socket: cannot make the folder {}: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent has it.
    #[error(
        "control socket: an agent answers at {} already: stop it, or give this one a socket of its own \
         (`control` in [agent], or --control)",
        .path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("control socket: {} is no socket; remove it if nobody needs it", .path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// Something failed on the way.
    #[error("control socket: cannot {what} {}: {source}", .path.display())]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A control socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that nobody else's is removed.
    file: (u64, u64),
}

impl Socket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the control socket and listens, in place of one that a dead agent left behind. Needs a
/// tokio runtime.
pub fn bind(path: &Path) -> Result<Socket, Error> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(|source| Error::Folder {
            folder: folder.to_owned(),
            source,
        })?;
    }
    let listener = match listen(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            listen(path)
        }
        result => result,
    };
    let listener = listener.map_err(failed("listen on", path))?;
    let permissions = fs::Permissions::from_mode(MODE);
    fs::set_permissions(path, permissions).map_err(failed("set the mode of", path))?;
    let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    Ok(Socket {
        listener,
        path: path.to_owned(),
        file: (metadata.dev(), metadata.ino()),
    })
}

/// A socket gets its file's mode when it is bound: that of the socket itself, less the process's
/// umask (`unix_bind_bsd`, net/unix/af_unix.c). So set it before, and nobody can slip in between.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

/// Removes the socket of an agent that is gone; whoever still answers keeps it.
fn remove_stale(path: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    if !metadata.file_type().is_socket() {
        return Err(Error::NotASocket {
            path: path.to_owned(),
        });
    }
    match StdStream::connect(path) {
        Ok(_) => Err(Error::Taken {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale socket", path))
        }
        Err(error) => Err(failed("find out who listens on", path)(error)),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Failed { what, path, source }
}

impl Listener for Socket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Listener::accept(&self.listener).await
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if ours {
            // Left behind, it is stale and the next agent replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_makes_its_folder_and_goes_with_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/sluice/control.sock");
        let socket = bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_living_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(Error::Taken { .. })));
        drop(first);
        bind(&path).unwrap();
    }

    #[tokio::test]
    async fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(Error::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
