//! Waits for what makes the configuration be loaded again.

use tokio::sync::mpsc;

use crate::{control::verdict::ReloadOrder, proxy::watch::Watch, system::shutdown::ReloadRequests};

pub(super) async fn next_edit(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_request(requests: Option<&mut ReloadRequests>) {
    match requests {
        Some(requests) => requests.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_order(orders: Option<&mut mpsc::Receiver<ReloadOrder>>) -> ReloadOrder {
    if let Some(orders) = orders
        && let Some(order) = orders.recv().await
    {
        return order;
    }
    std::future::pending().await
}
