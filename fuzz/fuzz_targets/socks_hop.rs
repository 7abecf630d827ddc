//! The answers of a SOCKS5 hop have the same result at once and byte by byte, and no byte behind them is lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mooltiroute::hops::{
    Secret, Tunnel,
    socks::{self, UserPassword},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split},
    runtime::Builder,
};

fuzz_target!(|input: &[u8]| {
    for is_known in [false, true] {
        let whole = connect(input, 1 << 16, is_known);
        assert_eq!(whole, connect(input, 1, is_known));
        if let Ok(rest) = whole {
            assert!(input.ends_with(&rest));
        }
    }
});

/// Connects through a hop that sends `answers`, `step` bytes at a time. Returns the bytes that the tunnel then delivers, or the
/// error.
fn connect(answers: &[u8], step: usize, is_known: bool) -> Result<Vec<u8>, String> {
    let (near, far) = duplex(step);
    let (mut reader, mut writer) = split(far);
    let hop = async {
        let write = async {
            // The client stops reading after a refusal.
            let _ = writer.write_all(answers).await;
            let _ = writer.shutdown().await;
        };
        let mut asked = Vec::new();
        let _ = tokio::join!(write, reader.read_to_end(&mut asked));
    };
    let client = async move {
        let next = "example.com:443".parse().expect("an authority");
        let known = UserPassword::new(Secret::new("u"), Secret::new("p")).expect("short enough");
        let tunnel = socks::connect(Tunnel::layered(near), &next, is_known.then_some(&known)).await;
        let mut tunnel = tunnel.map_err(|error| error.to_string())?;
        let mut rest = Vec::new();
        tunnel.read_to_end(&mut rest).await.map_err(|error| error.to_string())?;
        Ok(rest)
    };
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { tokio::join!(hop, client).1 })
}
