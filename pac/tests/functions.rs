//! Every function that a PAC file may call, as a script sees it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on must stop")]

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mooltiroute_pac::{Engine, Outcome, Query, Surroundings};

/// Knows a few names, and the time that a test wants.
#[derive(Debug, Default)]
struct Known {
    now: Duration,
    own: &'static [&'static str],
    alerts: Mutex<Vec<String>>,
}

impl Surroundings for Known {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        match name {
            "both.example" => Some(parsed(&["2001:db8::1", "192.0.2.7", "192.0.2.8"])),
            "six.example" => Some(parsed(&["2001:db8::6"])),
            "none.example" | "" => Some(Vec::new()),
            _ => None,
        }
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        parsed(self.own)
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.now
    }

    fn alert(&self, text: &str) {
        self.alerts.lock().unwrap().push(text.to_owned());
    }
}

fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn evaluate(expression: &str, known: Known) -> String {
    let text = format!("function FindProxyForURL(url, host) {{ return String({expression}); }}");
    let mut engine = Engine::load(text.into()).unwrap();
    let query = Query { url: "https://www.example/".into(), host: "www.example".into() };
    match engine.call(&query, Arc::new(known)).unwrap() {
        Outcome::Answer(text) => text,
        Outcome::Lookup(name) => format!("lookup {name}"),
    }
}

#[track_caller]
fn check(expected: &[(&str, &str)]) {
    for (expression, value) in expected {
        assert_eq!(evaluate(expression, Known::default()), *value, "{expression}");
    }
}

/// Evaluates at a time in UTC, given as days since 1970 and seconds of the day.
#[track_caller]
fn check_at(days: u64, seconds: u64, expected: &[(&str, &str)]) {
    let now = Duration::from_secs(days * 86400 + seconds);
    for (expression, value) in expected {
        let known = Known { now, ..Known::default() };
        assert_eq!(evaluate(expression, known), *value, "{expression}");
    }
}

#[test]
fn hosts_are_compared_by_their_ends_and_parts() {
    check(&[
        ("isPlainHostName('www')", "true"),
        ("isPlainHostName('www.example')", "false"),
        ("isPlainHostName('::1')", "false"),
        ("dnsDomainIs('www.example.com', '.example.com')", "true"),
        ("dnsDomainIs('www', '.example.com')", "false"),
        ("dnsDomainIs('www.mexample.com', 'example.com')", "true"),
        ("dnsDomainIs('www.example.com', '')", "true"),
        ("localHostOrDomainIs('www.example.com', 'www.example.com')", "true"),
        ("localHostOrDomainIs('www', 'www.example.com')", "true"),
        ("localHostOrDomainIs('www.example.org', 'www.example.com')", "false"),
        ("localHostOrDomainIs('home.example.com', 'www.example.com')", "false"),
        ("dnsDomainLevels('www')", "0"),
        ("dnsDomainLevels('www.example.com')", "2"),
    ]);
}

#[test]
fn names_are_resolved_by_the_caller() {
    check(&[
        ("dnsResolve('both.example')", "192.0.2.7"),
        ("dnsResolve('six.example')", "null"),
        ("dnsResolve('none.example')", "null"),
        ("dnsResolve('192.0.2.1')", "192.0.2.1"),
        ("dnsResolve('other.example')", "lookup other.example"),
        ("dnsResolveEx('both.example')", "2001:db8::1;192.0.2.7;192.0.2.8"),
        ("dnsResolveEx('none.example')", ""),
        ("dnsResolveEx('::1')", "::1"),
        ("isResolvable('both.example')", "true"),
        ("isResolvable('six.example')", "false"),
        ("isResolvable('none.example')", "false"),
        ("isResolvableEx('six.example')", "true"),
        ("isResolvableEx('none.example')", "false"),
    ]);
}

#[test]
fn a_script_that_catches_a_missing_look_up_has_no_answer_yet() {
    check(&[
        (
            "(function () { try { return dnsResolve('a.example'); } catch (e) { return 1; } })()",
            "lookup a.example",
        ),
        ("isInNet('other.example', '10.0.0.0', '255.0.0.0')", "lookup other.example"),
        ("isResolvable('other.example') || isResolvable('more.example')", "lookup other.example"),
    ]);
}

#[test]
fn addresses_are_compared_by_mask_and_prefix() {
    check(&[
        ("isInNet('192.0.2.7', '192.0.2.0', '255.255.255.0')", "true"),
        ("isInNet('192.0.3.7', '192.0.2.0', '255.255.255.0')", "false"),
        ("isInNet('192.0.2.7', '192.0.2.7', '255.255.255.255')", "true"),
        ("isInNet('both.example', '192.0.2.0', '255.255.255.0')", "true"),
        ("isInNet('none.example', '0.0.0.0', '0.0.0.0')", "false"),
        ("isInNet('six.example', '0.0.0.0', '0.0.0.0')", "false"),
        ("isInNet('256.1.1.1', '0.0.0.0', '0.0.0.0')", "false"),
        ("isInNet('192.0.2.7', 'x', '255.0.0.0')", "false"),
        ("isInNet('192.0.2.7', '192.0.2.0', 'y')", "false"),
        ("isInNet('200.0.0.1', '200.0.0.0', '255.0.0.0')", "true"),
        ("convert_addr('104.16.41.2')", "1745889538"),
        ("convert_addr('200.0.0.1') < 0", "true"),
        ("convert_addr('x')", "0"),
        ("isInNetEx('192.0.2.7', '192.0.2.0/24')", "true"),
        ("isInNetEx('2001:db8::7', '2001:db8::/32')", "true"),
        ("isInNetEx('2001:db9::7', '2001:db8::/32')", "false"),
        ("sortIpAddressList('10.2.3.9;::1;10.2.3.8')", "::1;10.2.3.8;10.2.3.9"),
        ("getClientVersion()", "1.0"),
    ]);
}

#[test]
fn the_own_address_is_the_first_of_the_machine() {
    let own = |expression, own| evaluate(expression, Known { own, ..Known::default() });
    let both = &["2001:db8::9", "192.0.2.9"];
    assert_eq!(own("myIpAddress()", both), "192.0.2.9");
    assert_eq!(own("myIpAddressEx()", both), "2001:db8::9;192.0.2.9");
    assert_eq!(own("myIpAddress()", &[]), "127.0.0.1");
    assert_eq!(own("myIpAddressEx()", &[]), "");
}

#[test]
fn shell_expressions_are_matched_as_browsers_do() {
    check(&[
        ("shExpMatch('http://home.example/people/ari/', '*/ari/*')", "true"),
        ("shExpMatch('http://home.example/people/montulli/', '*/ari/*')", "false"),
        ("shExpMatch('www.example', 'www.example')", "true"),
        ("shExpMatch('wwwXexample', 'www.example')", "false"),
        ("shExpMatch('www.example', 'www.exam')", "false"),
        ("shExpMatch('www1.example', 'www?.example')", "true"),
        ("shExpMatch('www.example', '*')", "true"),
        ("shExpMatch('', '*')", "true"),
        ("shExpMatch('b.example', '(a|b).example')", "true"),
        ("shExpMatch('__proto__', '__proto__')", "true"),
    ]);
}

#[test]
fn weekdays_are_a_circle() {
    // 2026-11-26 is a Thursday.
    check_at(
        20783,
        0,
        &[
            ("weekdayRange('THU', 'GMT')", "true"),
            ("weekdayRange('wed', 'GMT')", "false"),
            ("weekdayRange('MON', 'FRI', 'GMT')", "true"),
            ("weekdayRange('FRI', 'MON', 'GMT')", "false"),
            ("weekdayRange('SAT', 'THU', 'GMT')", "true"),
            ("weekdayRange('NODAY', 'GMT')", "false"),
            ("weekdayRange('GMT')", "false"),
            ("weekdayRange()", "false"),
        ],
    );
}

#[test]
fn dates_are_compared_by_the_units_that_are_given() {
    // 2026-11-26.
    check_at(
        20783,
        0,
        &[
            ("dateRange(26, 'GMT')", "true"),
            ("dateRange(25, 'GMT')", "false"),
            ("dateRange('26', 'GMT')", "true"),
            ("dateRange(1, 26, 'GMT')", "true"),
            ("dateRange(27, 26, 'GMT')", "true"),
            ("dateRange('NOV', 'GMT')", "true"),
            ("dateRange('nov', 'FEB', 'GMT')", "true"),
            ("dateRange('DEC', 'FEB', 'GMT')", "false"),
            ("dateRange(2026, 'GMT')", "true"),
            ("dateRange(2027, 2028, 'GMT')", "false"),
            ("dateRange(2028, 2027, 'GMT')", "true"),
            ("dateRange(24, 'NOV', 26, 'NOV', 'GMT')", "true"),
            ("dateRange(27, 'NOV', 31, 'DEC', 'GMT')", "false"),
            ("dateRange(24, 'DEC', 6, 'JAN', 'GMT')", "false"),
            ("dateRange('OCT', 2026, 'JAN', 2027, 'GMT')", "true"),
            ("dateRange('DEC', 2026, 'JAN', 2027, 'GMT')", "false"),
            ("dateRange(25, 'NOV', 2026, 27, 'NOV', 2026, 'GMT')", "true"),
            ("dateRange(1, 'JAN', 2027, 2, 'JAN', 2028, 'GMT')", "false"),
            ("dateRange(26, 'NOV', 'GMT')", "true"),
            ("dateRange(26, 'NOV', 2025, 'GMT')", "false"),
            ("dateRange(26, 'NOV', 2025, 1, 'GMT')", "false"),
            ("dateRange('NOMONTH', 'GMT')", "false"),
            ("dateRange(0, 'GMT')", "false"),
            ("dateRange()", "false"),
            ("dateRange('GMT')", "false"),
        ],
    );
}

#[test]
fn hours_are_compared_by_the_units_that_are_given() {
    // 22:30:15.
    check_at(
        20783,
        22 * 3600 + 30 * 60 + 15,
        &[
            ("timeRange(22, 'GMT')", "true"),
            ("timeRange(23, 'GMT')", "false"),
            ("timeRange(8, 22, 'GMT')", "true"),
            ("timeRange(8, 17, 'GMT')", "false"),
            ("timeRange(20, 6, 'GMT')", "true"),
            ("timeRange(23, 6, 'GMT')", "false"),
            ("timeRange(22, 0, 22, 30, 'GMT')", "true"),
            ("timeRange(22, 31, 23, 0, 'GMT')", "false"),
            ("timeRange(22, 30, 15, 22, 30, 15, 'GMT')", "true"),
            ("timeRange(22, 30, 16, 22, 30, 20, 'GMT')", "false"),
            ("timeRange(1, 2, 3, 'GMT')", "false"),
            ("timeRange('x', 'GMT')", "false"),
            ("timeRange('GMT')", "false"),
        ],
    );
}

#[test]
fn the_local_time_is_the_default() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let local = |expression: &str| evaluate(expression, Known { now, ..Known::default() });
    let date = format!("new Date({})", now.as_millis());
    assert_eq!(local(&format!("timeRange({date}.getHours())")), "true");
    assert_eq!(local(&format!("dateRange({date}.getDate())")), "true");
    assert_eq!(local(&format!("dateRange({date}.getFullYear())")), "true");
}

#[test]
fn the_first_few_alerts_are_passed_on() {
    let text = "function FindProxyForURL(url, host) {
        for (var i = 0; i < 1000; i += 1) alert(host + i);
        alert(new Array(1e5).join('x'));
        return 'DIRECT';
    }";
    let mut engine = Engine::load(text.into()).unwrap();
    let (known, query) = (Arc::new(Known::default()), Query { url: "u".into(), host: "h".into() });
    for _ in 0..2 {
        let surroundings = Arc::clone(&known) as Arc<dyn Surroundings>;
        engine.call(&query, surroundings).unwrap();
    }
    let alerts = known.alerts.lock().unwrap();
    assert_eq!((alerts.len(), &*alerts[0], &*alerts[10]), (20, "h0", "h0"));
}

#[test]
fn the_arguments_are_url_and_host() {
    check(&[
        ("url", "https://www.example/"),
        ("host", "www.example"),
        ("this === undefined", "false"),
    ]);
}

#[test]
fn scripts_may_use_what_browsers_have_and_nothing_that_runs_later() {
    check(&[
        ("new Set(['a', 'b']).has('b')", "true"),
        ("[1, 2].includes(2) && `${host}`.startsWith('www')", "true"),
        ("JSON.stringify({ a: [1] })", r#"{"a":[1]}"#),
        (
            "typeof setTimeout + typeof require + typeof fetch + typeof Promise",
            "undefinedundefinedundefinedundefined",
        ),
    ]);
}
