//! Waits for what makes the configuration be loaded again.

use tokio::sync::mpsc;

use crate::{control::verdict::ReloadOrder, proxy::watch::Watch, system::shutdown::ReloadRequests};

/// A reload that an operator has asked for while another one waited for files. It comes next.
#[derive(Debug, Default)]
pub(super) struct AskedMeanwhile {
    pub(super) order: Option<ReloadOrder>,
    pub(super) is_signalled: bool,
}

impl AskedMeanwhile {
    pub(super) fn is_any(&self) -> bool {
        self.order.is_some() || self.is_signalled
    }
}

pub(super) async fn next_edit(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Waits for a signal, unless one came `earlier`.
pub(super) async fn next_request(requests: Option<&mut ReloadRequests>, earlier: &mut bool) {
    if std::mem::take(earlier) {
        return;
    }
    match requests {
        Some(requests) => requests.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for an order, unless one came `earlier`.
pub(super) async fn next_order(
    orders: Option<&mut mpsc::Receiver<ReloadOrder>>,
    earlier: &mut Option<ReloadOrder>,
) -> ReloadOrder {
    if let Some(order) = earlier.take() {
        return order;
    }
    if let Some(orders) = orders
        && let Some(order) = orders.recv().await
    {
        return order;
    }
    std::future::pending().await
}
