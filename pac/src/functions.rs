//! The functions that scripts may call: two preludes in JavaScript, and the natives below them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::UNIX_EPOCH,
};

use rquickjs::{Ctx, Error, Exception, Function, IntoJs as _, Object, Value, function::IntoJsFunc};

use crate::{
    Surroundings,
    addresses::{self, joined},
};

/// The surroundings of the call under way, and what the call has asked for.
#[derive(Debug, Default)]
pub(crate) struct Call {
    surroundings: RefCell<Option<Arc<dyn Surroundings>>>,
    /// The name whose addresses were not known.
    missing: RefCell<Option<String>>,
    alerts: Cell<usize>,
}

impl Call {
    pub(crate) fn begin(&self, surroundings: Arc<dyn Surroundings>) {
        self.surroundings.replace(Some(surroundings));
        self.missing.take();
        self.alerts.set(0);
    }

    /// Ends the call. Returns the name whose addresses it lacked, if there was one.
    pub(crate) fn end(&self) -> Option<String> {
        self.surroundings.take();
        self.missing.take()
    }

    /// Returns the surroundings, unless the script is just being loaded.
    fn surroundings(&self) -> Option<Arc<dyn Surroundings>> {
        self.surroundings.borrow().clone()
    }

    /// Returns the addresses of `host`, separated by semicolons.
    ///
    /// # Errors
    /// They are not known yet. The exception ends the script. If the script catches it, its answer is ignored.
    fn addresses(&self, context: &Ctx<'_>, host: String) -> Result<String, Error> {
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        let Some(surroundings) = self.surroundings().filter(|_| !is_address) else {
            return Ok(if is_address { host } else { String::new() });
        };
        match surroundings.addresses(&host) {
            Some(addresses) => Ok(joined(&addresses)),
            None => {
                self.missing.borrow_mut().get_or_insert(host);
                Err(Exception::throw_message(context, "the name was not looked up yet"))
            }
        }
    }

    fn own_addresses(&self) -> String {
        self.surroundings().map_or_else(String::new, |known| joined(&known.own_addresses()))
    }

    /// Returns the milliseconds since 1970.
    fn now(&self) -> f64 {
        let now = self.surroundings().map(|known| known.now());
        let since = now.and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        since.map_or(0.0, |since| since.as_secs_f64() * 1e3)
    }

    fn alert(&self, text: &str) {
        let count = self.alerts.get();
        if let Some(surroundings) = self.surroundings().filter(|_| count < ALERTS_MAX) {
            self.alerts.set(count + 1);
            let shown: String = text.chars().take(ALERT_CHARACTERS_MAX).collect();
            surroundings.alert(&shown);
        }
    }
}

/// Defines the functions of PAC files. They ask `call` for facts.
pub(crate) fn define(context: &Ctx<'_>, call: &Rc<Call>) -> Result<(), Error> {
    let native = Native(Object::new(context.clone())?);
    let own = Rc::clone(call);
    native.add("addresses", move |context: Ctx<'_>, host: String| own.addresses(&context, host))?;
    let own = Rc::clone(call);
    native.add("ownAddresses", move || own.own_addresses())?;
    let own = Rc::clone(call);
    native.add("now", move || own.now())?;
    let own = Rc::clone(call);
    native.add("alert", move |text: String| own.alert(&text))?;
    native.add("looksLikeIpv4", |text: String| addresses::looks_like_ipv4(&text))?;
    native.add("number", |text: String| addresses::number(&text))?;
    native.add("isInNet", |address: String, network: String, mask: String| {
        addresses::is_in_net(&address, &network, &mask)
    })?;
    native.add("firstIpv4", first_ipv4)?;
    native.add("isInPrefix", |address: String, prefix: String| {
        addresses::is_in_prefix(&address, &prefix)
    })?;
    native.add("sorted", |list: String| addresses::sorted(&list))?;
    for prelude in [include_str!("prelude.js"), include_str!("ranges.js")] {
        let define: Function<'_> = context.eval(prelude)?;
        define.call::<_, ()>((context.globals(), native.0.clone()))?;
    }
    Ok(())
}

/// The functions in Rust, which only the preludes see.
struct Native<'js>(Object<'js>);

impl<'js> Native<'js> {
    fn add<P>(&self, name: &str, function: impl IntoJsFunc<'js, P> + 'js) -> Result<(), Error> {
        self.0.set(name, Function::new(self.0.ctx().clone(), function)?)
    }
}

/// Returns the first IPv4 address of `list`, or null.
fn first_ipv4(context: Ctx<'_>, list: String) -> Result<Value<'_>, Error> {
    match addresses::first_ipv4(&list) {
        Some(address) => address.into_js(&context),
        None => Ok(Value::new_null(context)),
    }
}

/// The messages of one call that are passed on.
const ALERTS_MAX: usize = 10;
const ALERT_CHARACTERS_MAX: usize = 200;
