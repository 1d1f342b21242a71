//! Accepts connections, reads requests, hands each question to a function and sends its answer.
//!
//! What a client can hold is limited: the number of connections, the size of a request's header,
//! the time it takes to send it, the size of a body (where none may be sent, none is read), and the life of a
//! connection. An answer that goes on outlives that, for as long as the client reads it.

use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    Content, Limits, Listener, Method, Question, TEXT, Unread, patience::Patient, response, whole,
};

/// Connections at a time; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 64;
/// Bytes of a request's header.
const MOST_HEADER: usize = 16 * 1024;
/// Lines of a request's header.
const MOST_HEADER_LINES: usize = 64;
/// From the first moment of waiting for a request to the end of its header.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// For what is under way when a connection's life or the server's ends.
const GRACE: Duration = Duration::from_secs(2);
/// Before another try when no connection can be accepted (such as with too many open files).
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is done; then finishes what is under way, within two seconds. `answer` may
/// take its time: it runs on a thread for such work.
pub(crate) async fn serve<A>(
    listener: impl Listener,
    limits: Limits,
    answer: A,
    stop: impl Future<Output = ()> + Send,
) where
    A: Fn(&Question) -> Response<Content> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (running, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = free.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = next => match accepted {
                Ok(stream) => {
                    let (answer, stopping) = (answer.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection(stream, limits, answer, stopping).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(running);
    let finished = async { while connections.join_next().await.is_some() {} };
    // Those that are left are aborted with the set.
    let _ = timeout(GRACE, finished).await;
}

/// Serves one connection to its end. What goes wrong there is the client's affair.
async fn connection<S, A>(
    stream: S,
    limits: Limits,
    answer: Arc<A>,
    mut stopping: watch::Receiver<()>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    A: Fn(&Question) -> Response<Content> + Send + Sync + 'static,
{
    let goes_on = AtomicBool::new(false);
    let service = service_fn(async |request| {
        let response = handle(request, limits.body, answer.clone()).await;
        goes_on.store(response.size_hint().exact().is_none(), Ordering::Relaxed);
        Ok::<_, Infallible>(response)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MOST_HEADER)
        .max_headers(MOST_HEADER_LINES)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut served = pin!(served);
    tokio::select! {
        _ = served.as_mut() => return,
        _ = stopping.changed() => {}
        () = sleep(limits.lifetime) => {}
    }
    served.as_mut().graceful_shutdown();
    if goes_on.load(Ordering::Relaxed) {
        tokio::select! {
            _ = served.as_mut() => return,
            _ = stopping.changed() => {}
        }
    }
    let _ = timeout(GRACE, served).await;
}

async fn handle<A>(
    request: Request<Incoming>,
    most_body: usize,
    answer: Arc<A>,
) -> Response<Content>
where
    A: Fn(&Question) -> Response<Content> + Send + Sync + 'static,
{
    let question = question(request, most_body).await;
    let answered = tokio::task::spawn_blocking(move || answer(&question)).await;
    answered.unwrap_or_else(|_| {
        let body = "this request failed inside the agent\n".to_owned();
        response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, whole(body))
    })
}

/// What a request asks.
async fn question(request: Request<Incoming>, most_body: usize) -> Question {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let method = match *request.method() {
        hyper::Method::GET | hyper::Method::HEAD => Method::Read,
        hyper::Method::POST => Method::Post,
        _ => Method::Other,
    };
    let body = match method {
        Method::Post if most_body > 0 => {
            let body = Limited::new(request.into_body(), most_body).collect().await;
            body.map(Collected::to_bytes)
                .map_err(|error| match error.is::<LengthLimitError>() {
                    true => Unread::TooLong(most_body),
                    false => Unread::Broken(error.to_string()),
                })
        }
        Method::Read | Method::Post | Method::Other => Ok(Bytes::new()),
    };
    Question {
        path,
        query,
        method,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{UnixListener, UnixStream},
        sync::oneshot,
        task::JoinHandle,
    };

    /// A running server that answers with the question.
    struct Running {
        folder: tempfile::TempDir,
        stop: oneshot::Sender<()>,
        server: JoinHandle<()>,
    }

    const LIMITS: Limits = Limits {
        body: 20,
        lifetime: Duration::from_secs(60),
    };

    fn start() -> Running {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let echo = |question: &Question| {
            let (status, sent) = match &question.body {
                Ok(body) => (StatusCode::OK, String::from_utf8_lossy(body).into_owned()),
                Err(unread) => (unread.status(), unread.to_string()),
            };
            let body = format!("{} {:?} {sent}\n", question.path, question.method);
            response(status, TEXT, whole(body))
        };
        let server = tokio::spawn(serve(listener, LIMITS, echo, async {
            drop(stopped.await);
        }));
        Running {
            folder,
            stop,
            server,
        }
    }

    impl Running {
        async fn connect(&self) -> UnixStream {
            UnixStream::connect(self.folder.path().join("socket"))
                .await
                .unwrap()
        }

        /// Sends `request` and reads until the server closes.
        async fn exchange(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            read(stream).await
        }
    }

    /// All that comes until the server closes; it may do so with bytes of ours unread.
    async fn read(mut stream: UnixStream) -> String {
        let mut bytes = Vec::new();
        while let Ok(1..) = stream.read_buf(&mut bytes).await {}
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn questions_are_answered() {
        let server = start();
        let request = |method| format!("{method} /a?b=c HTTP/1.1\r\nconnection: close\r\n\r\n");
        let text = server.exchange(&request("GET")).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n/a Read \n"), "{text}");
        let text = server.exchange(&request("HEAD")).await;
        assert!(
            text.contains("content-length: 9\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
        let text = server.exchange(&request("DELETE")).await;
        assert!(text.ends_with("\r\n\r\n/a Other \n"), "{text}");
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_their_limit() {
        let server = start();
        let post = |body: &str| {
            let length = body.len();
            format!(
                "POST /a HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        };
        let text = server.exchange(&post("some words")).await;
        assert!(text.ends_with("\r\n\r\n/a Post some words\n"), "{text}");
        let text = server.exchange(&post(&"x".repeat(LIMITS.body))).await;
        assert!(text.contains(" 200 OK"), "{text}");
        let text = server.exchange(&post(&"x".repeat(LIMITS.body + 1))).await;
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    }

    #[tokio::test]
    async fn nonsense_and_long_headers_are_refused() {
        let server = start();
        let text = server.exchange("\x16\x03\x01\x02\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(MOST_HEADER));
        let text = server.exchange(&long).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_clients_are_let_go() {
        let server = start();
        let started = tokio::time::Instant::now();
        for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let mut stream = server.connect().await;
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let text = read(stream).await;
            assert_eq!(
                text.contains("200 OK"),
                beginning.ends_with("\r\n\r\n"),
                "{text}"
            );
        }
        assert!(started.elapsed() < 3 * LIMITS.lifetime);
    }

    #[tokio::test]
    async fn it_stops_with_idle_clients() {
        let server = start();
        let mut idle = server.connect().await;
        idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut first = [0; 17];
        idle.read_exact(&mut first).await.unwrap();
        server.stop.send(()).unwrap();
        timeout(Duration::from_secs(5), server.server)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn more_clients_than_places_wait() {
        let server = start();
        let mut idle = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            idle.push(server.connect().await);
        }
        let request = "GET /late HTTP/1.1\r\nconnection: close\r\n\r\n";
        let mut late = server.connect().await;
        late.write_all(request.as_bytes()).await.unwrap();
        let mut one = [0; 1];
        let early = timeout(Duration::from_millis(50), late.read(&mut one)).await;
        assert!(early.is_err(), "answered though all places are taken");
        idle.clear();
        assert!(read(late).await.ends_with("/late Read \n"));
    }
}
