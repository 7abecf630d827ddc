//! A printed authority parses to the same authority, and has no character that is dangerous in a message.

#![no_main]

use std::num::NonZeroU16;

use libfuzzer_sys::fuzz_target;
use mooltiroute::hops::{Authority, Host};

fuzz_target!(|text: &str| {
    let port = NonZeroU16::new(80).unwrap();
    let defaulted = Authority::with_default_port(text, port);
    if let Ok(authority) = text.parse::<Authority>() {
        check(&authority);
        assert_eq!(defaulted.as_ref(), Ok(&authority));
    }
    if let Ok(authority) = defaulted {
        check(&authority);
        assert_eq!(authority.host().to_string().parse::<Host>().as_ref(), Ok(authority.host()));
    }
});

fn check(authority: &Authority) {
    let shown = authority.to_string();
    assert_eq!(shown.parse::<Authority>().as_ref(), Ok(authority));
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    assert!(shown.bytes().all(is_fit), "{shown:?}");
    assert!(shown.len() <= 254 + ":65535".len(), "{shown:?}");
}
