use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Served {
    server: MetricsServer,
    health: Health,
    trigger: crate::signals::ShutdownTrigger,
}

async fn served() -> Served {
    let (trigger, shutdown) = Shutdown::new();
    let metrics = Metrics::new("canh-test", "0").unwrap();
    let health = Health::starting();
    let server = serve("127.0.0.1:0".parse().unwrap(), metrics, health.clone(), shutdown).await.unwrap();
    Served { server, health, trigger }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn metrics_and_health_are_served_and_nothing_else() {
    block_on(async {
        let served = served().await;
        let address = served.server.address();
        assert_ne!(address.port(), 0);
        let metrics = get(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.contains("canh_build_info{"), "{metrics}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 503 "));
        served.health.set_ready();
        assert!(get(address, "/healthz").await.ends_with("\r\n\r\nready\n"));
        served.health.set_failed("journal cannot be synced");
        assert!(get(address, "/healthz").await.ends_with("journal cannot be synced\n"));
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
        assert!(ask(address, "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn body_of_a_request_is_not_waited_for() {
    block_on(async {
        let served = served().await;
        let request = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nfirst bytes";
        assert!(ask(served.server.address(), request).await.starts_with("HTTP/1.1 405 "));
    });
}

#[test]
fn head_without_end_is_cut_off() {
    block_on(async {
        let served = served().await;
        let request = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert!(ask(served.server.address(), &request).await.starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn stuck_scrapers_neither_pile_up_nor_keep_others_out_for_ever() {
    block_on(async {
        let (_trigger, shutdown) = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Arc::new((Metrics::new("canh-test", "0").unwrap(), Health::starting()));
        let deadline = Duration::from_millis(100);
        tokio::spawn(accept(listener, shown, shutdown, deadline));
        let mut stuck = Vec::new();
        for _ in 0..MAX_CONNECTIONS * 2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /met").await.unwrap();
            stuck.push(stream);
        }
        // All slots are taken twice over; each is free again after its deadline.
        let begun = std::time::Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(20), get(address, "/metrics")).await.unwrap();
        assert!(begun.elapsed() >= deadline * 2, "more than {MAX_CONNECTIONS} connections were served at a time");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
        for mut stream in stuck {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.starts_with(b"HTTP/1.1 200"), "a stuck scraper was answered");
        }
    });
}

#[test]
fn listener_ends_with_the_token_though_a_scraper_is_stuck() {
    block_on(async {
        let served = served().await;
        let _stuck = TcpStream::connect(served.server.address()).await.unwrap();
        served.trigger.request();
        served.server.join().await;
    });
}

#[test]
fn port_in_use_says_what_to_do() {
    block_on(async {
        let served = served().await;
        let (_trigger, shutdown) = Shutdown::new();
        let metrics = Metrics::new("canh-test", "0").unwrap();
        let refused = serve(served.server.address(), metrics, Health::starting(), shutdown).await.unwrap_err();
        assert!(refused.to_string().contains("free the port or change metrics.address"));
    });
}
