//! A choice around another one, as when a member of a pool is a pool itself.

use crate::{Chosen, Eventual, Selection};

/// A choice whose link may come from a choice of its own, the inner one.
pub(super) trait OuterChoice: Selection + Sized + 'static {
    /// Returns the place of the inner choice, which is empty if the link made none.
    fn inner(&mut self) -> &mut Option<Box<dyn Selection>>;

    /// Takes the link of `chosen`, and its choice as the inner one.
    fn of(mut self: Box<Self>, mut chosen: Chosen) -> Chosen {
        *self.inner() = chosen.selection.take();
        Chosen { selection: Some(self), ..chosen }
    }

    /// Has the inner choice take the next `step`. If there is no inner choice, or it has nothing left, `own` is the next step
    /// of this one.
    ///
    /// The inner choice may have to wait. Then this one waits with it, and only then is anything boxed.
    fn after_inner(
        mut self: Box<Self>,
        step: impl FnOnce(Box<dyn Selection>) -> Eventual<'static, Option<Chosen>>,
        own: impl FnOnce(Box<Self>) -> Eventual<'static, Option<Chosen>> + Send + 'static,
    ) -> Eventual<'static, Option<Chosen>> {
        let Some(inner) = self.inner().take() else { return own(self) };
        match step(inner) {
            Eventual::Ready(Some(chosen)) => Eventual::Ready(Some(self.of(chosen))),
            Eventual::Ready(None) => own(self),
            Eventual::Pending(chosen) => Eventual::later(async move {
                match chosen.await {
                    Some(chosen) => Some(self.of(chosen)),
                    None => own(self).wait().await,
                }
            }),
        }
    }
}
